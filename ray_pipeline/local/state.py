"""What is remembered about the servers of one home, in its state.json, and who may change it."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ray_pipeline.errors import ServerError
from ray_pipeline.local.process import ProcessId, is_alive

STATE = "state.json"


@dataclass(frozen=True, slots=True)
class Known:
    """
    One server that was started here, running or not.

    Attributes:
        kind: postgres, valkey, tansu or kafka.
        port: Where it listened, and will again if the port is still free.
        pid, started_s: Its process.
    """

    kind: str
    port: int
    pid: int
    started_s: float

    @property
    def identity(self) -> ProcessId:
        """The process, to be told apart from a later one with the same number."""
        return ProcessId(self.pid, self.started_s)

    @property
    def alive(self) -> bool:
        """Say whether that very process lives."""
        return is_alive(self.identity)


def read_state(home: Path) -> dict[str, Known]:
    """
    Return what is known about the servers of a home, by kind.

    Raises:
        ServerError: If the file is not ours.
    """
    path = home / STATE
    try:
        entries = json.loads(path.read_text())
        return {kind: Known(kind=kind, **entry) for kind, entry in entries.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise ServerError(
            f"{path} cannot be read: {error}",
            fix="end the servers of this home by hand and delete the file; the data is beside it",
        ) from error


def write_state(home: Path, known: Mapping[str, Known]) -> None:
    """Replace what is known, all at once."""
    entries = {kind: asdict(server) for kind, server in known.items()}
    for entry in entries.values():
        del entry["kind"]
    fresh = home / f"{STATE}.new"
    fresh.write_text(json.dumps(entries, indent=2) + "\n")
    fresh.replace(home / STATE)


@contextlib.contextmanager
def locked(home: Path, name: str, *, doing: str) -> Iterator[None]:
    """
    Hold the lock `name` of a home. The system lets go of it when its holder dies.

    Raises:
        ServerError: If another process holds it, or the home cannot be written.
    """
    with _open(home, f"{name}.lock") as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode() or "unknown"
            raise ServerError(
                f"the process with pid {holder} is {doing} in {home}",
                fix="end it or wait for it, or name another directory with PIPELINE_HOME",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield


@contextlib.contextmanager
def _open(home: Path, name: str) -> Iterator[int]:
    try:
        home.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(home / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ServerError(
            f"{home} cannot be written: {error.strerror}",
            fix="change its owner, or name another directory with PIPELINE_HOME",
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)

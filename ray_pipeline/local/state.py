"""The servers of one home, recorded in its state.json, and the locks on a home."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from ray_pipeline.errors import ServerError
from ray_pipeline.local.process import ProcessId, is_alive

STATE = "state.json"


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """
    A server that was started in this home; it may have ended since.

    Attributes:
        port: Where it listened, and will listen again if the port is free.
        pid, started_s: Its process; see `ProcessId`.
    """

    port: int
    pid: int
    started_s: float

    @property
    def identity(self) -> ProcessId:
        """Its process."""
        return ProcessId(self.pid, self.started_s)

    @property
    def alive(self) -> bool:
        """Whether its process is alive."""
        return is_alive(self.identity)


def read_state(home: Path) -> dict[str, ServerRecord]:
    """
    Return the recorded servers of a home by their kind: postgres, valkey, tansu or kafka.

    Raises:
        ServerError: If the file cannot be parsed. To ignore it could leave servers running that no
            program can find again.
    """
    path = home / STATE
    try:
        entries = json.loads(path.read_text())
        return {kind: ServerRecord(**entry) for kind, entry in entries.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise ServerError(
            f"{path} cannot be read: {error}",
            fix="end the servers of this home manually and delete the file; it holds no data",
        ) from error


def write_state(home: Path, records: Mapping[str, ServerRecord]) -> None:
    """Replace the recorded servers atomically."""
    entries = {kind: asdict(record) for kind, record in records.items()}
    new_file = home / f"{STATE}.new"
    new_file.write_text(json.dumps(entries, indent=2) + "\n")
    new_file.replace(home / STATE)


@contextlib.contextmanager
def locked(home: Path, name: str, *, doing: str) -> Iterator[None]:
    """
    Hold the lock `name` of a home. The system releases it when the holder ends, however it ends.

    Raises:
        ServerError: If another process holds it, or the home cannot be written.
    """
    with _open(home, f"{name}.lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ServerError(
                f"the process with pid {file.read() or 'unknown'} is {doing} in {home}",
                fix="end it or wait for it, or name another directory with PIPELINE_HOME",
            ) from None
        # The content is only for the error above. The file is never deleted: a process that opened
        # it before a deletion would lock a file that later ones cannot see.
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _open(home: Path, name: str) -> TextIO:
    try:
        home.mkdir(parents=True, exist_ok=True)
        return (home / name).open("a+")
    except OSError as error:
        raise ServerError(
            f"{home} cannot be written: {error.strerror}",
            fix="change its owner, or name another directory with PIPELINE_HOME",
        ) from error

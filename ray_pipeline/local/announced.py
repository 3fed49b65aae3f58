"""What a running pipeline says of itself in its home, so that others on this machine find it."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ray_pipeline.local.process import ProcessId, identify, is_alive

FILE = "pipeline.json"


@dataclass(frozen=True, slots=True)
class Announced:
    """
    A running pipeline. Nothing of it is a secret.

    Attributes:
        ray_address: Of its Ray cluster, host:port.
        namespace: In which its actors live.
        simulated: What is not real.
        keys: The fingerprints of each provider's keys.
        speed: The providers' clock.
        pid, started_s: Its process.
    """

    ray_address: str
    namespace: str
    simulated: tuple[str, ...] = ()
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict)
    speed: float = 1.0
    pid: int = 0
    started_s: float = 0.0


@contextlib.contextmanager
def announcing(home: Path, said: Announced) -> Iterator[None]:
    """Say it for the length of a block, as this process."""
    me = identify(os.getpid())
    assert me is not None, "this process lives"
    path, fresh = home / FILE, home / f"{FILE}.new"
    entry = asdict(said) | {"pid": me.pid, "started_s": me.started_s}
    fresh.write_text(json.dumps(entry, indent=2) + "\n")
    fresh.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def announced(home: Path) -> Announced | None:
    """Return what the pipeline of a home says; None where none runs, or its file is not ours."""
    try:
        found = Announced(**json.loads((home / FILE).read_text()))
        alive = is_alive(ProcessId(found.pid, found.started_s))
    except (OSError, ValueError, TypeError):
        return None
    return found if alive else None

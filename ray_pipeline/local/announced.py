"""What a running pipeline says of itself in its home, so that others on this machine find it."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ray_pipeline.local.process import ProcessId, identify, is_alive
from ray_pipeline.redact import fingerprint
from ray_pipeline.settings import Settings

FILE = "pipeline.json"


@dataclass(frozen=True, slots=True)
class Announced:
    """
    A running pipeline. Nothing of it is a secret.

    Attributes:
        ray_address: Of its Ray cluster, host:port.
        ray_environment: The variables with which other programs on this machine use that cluster;
            empty for a cluster that the pipeline joined.
        namespace: In which its actors live.
        simulated: What is not real.
        keys: The fingerprints of each provider's keys.
        stream_keys: How many keys the WebSocket of each provider has.
        speed: The providers' clock.
        postgres: The fingerprint of its connection string.
        pid, started_s: Its process.
    """

    ray_address: str
    namespace: str
    ray_environment: Mapping[str, str] = field(default_factory=dict)
    simulated: tuple[str, ...] = ()
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stream_keys: Mapping[str, int] = field(default_factory=dict)
    speed: float = 1.0
    postgres: str = ""
    pid: int = 0
    started_s: float = 0.0


@dataclass(frozen=True, slots=True)
class KeysInUse:
    """
    What a pipeline may call with.

    Attributes:
        by_provider: The keys' fingerprints.
        streams: How many keys the WebSocket of each provider has.
        speed: The providers' clock.
    """

    by_provider: Mapping[str, Sequence[str]]
    streams: Mapping[str, int]
    speed: float

    def counts(self) -> dict[str, int]:
        """Return how many keys each provider has."""
        return {name: len(keys) for name, keys in self.by_provider.items()}


@contextlib.contextmanager
def announcing(home: Path, announcement: Announced) -> Iterator[None]:
    """Say it for the length of a block, as this process."""
    me = identify(os.getpid())
    assert me is not None, "this process lives"
    path, fresh = home / FILE, home / f"{FILE}.new"
    entry = asdict(announcement) | {"pid": me.pid, "started_s": me.started_s}
    fresh.write_text(json.dumps(entry, indent=2) + "\n")
    fresh.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def announced(home: Path) -> Announced | None:
    """Return what the pipeline of a home says; None where none runs, or its file is not ours."""
    try:
        announcement = Announced(**json.loads((home / FILE).read_text()))
        alive = is_alive(ProcessId(announcement.pid, announcement.started_s))
    except (OSError, ValueError, TypeError):
        return None
    return announcement if alive else None


def keys_in_use(settings: Settings) -> KeysInUse:
    """
    Return the keys of the pipeline that fills the Postgres of these settings.

    One that runs in PIPELINE_HOME says so itself: a demo's keys are its own. Without one, they are
    the settings' keys.

    Raises:
        ConfigurationError: If the settings name no Postgres.
    """
    running = announced(settings.home_dir())
    if running is not None and running.postgres == fingerprint(settings.postgres_dsn()):
        return KeysInUse(running.keys, running.stream_keys, running.speed)
    return KeysInUse(settings.key_fingerprints(), settings.stream_key_counts(), settings.jobs.speed)

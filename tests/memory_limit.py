"""A memory cgroup of a test's own: the kernel kills a process in it that uses too much memory."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """
    A cgroup with a limit.

    Attributes:
        folder: The folder of the cgroup.
        events: The file with the number of processes that the kernel has killed.
    """

    folder: Path
    events: str

    def add(self, pid: int) -> None:
        """Count what a process allocates from now on."""
        (self.folder / "cgroup.procs").write_text(str(pid))

    def kills(self) -> int:
        """Return how many processes the kernel has killed."""
        match = re.search(r"^oom_kill (\d+)$", (self.folder / self.events).read_text(), re.M)
        return int(match[1]) if match else 0


@contextlib.contextmanager
def memory_limit(limit_bytes: int) -> Iterator[MemoryLimit]:
    """Make a cgroup for the duration of a block; skip the test if this user may not."""
    first_version = (ROOT / "memory").is_dir()
    folder = (ROOT / "memory" if first_version else ROOT) / f"ray-pipeline-test-{os.getpid()}"
    limit = "memory.limit_in_bytes" if first_version else "memory.max"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made: {error}")
    try:
        try:
            (folder / limit).write_text(str(limit_bytes))
        except OSError as error:
            pytest.skip(f"the memory of a cgroup cannot be limited: {error}")
        yield MemoryLimit(folder, "memory.oom_control" if first_version else "memory.events")
    finally:
        with contextlib.suppress(OSError):  # it is not empty while a killed process is ending
            folder.rmdir()

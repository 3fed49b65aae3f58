"""
The wall clocks of processes: each has an offset that a fault changes while the process runs.

`clock_offset.c` is compiled at the start of a run and preloaded into the processes. Without a
compiler, clocks cannot be set.
"""

import shutil
import struct
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).with_name("clock_offset.c")
SECOND_NS = 10**9
SLACK_S = 60.0  # around a run


def compile_library(directory: Path) -> Path | None:
    """Return the compiled library; None if no compiler is installed."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = directory / "clock_offset.so"
    subprocess.run(
        [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"],
        check=True,
        timeout=120,
    )
    return library


@dataclass(frozen=True, slots=True)
class Setting:
    """From `at_s` on, the clock is ahead by `offset_s`."""

    at_s: float
    offset_s: float


@dataclass(slots=True)
class Clock:
    """The clock of one process, which keeps its offset through restarts."""

    file: Path
    settings: list[Setting] = field(default_factory=lambda: [Setting(0.0, 0.0)])

    def __post_init__(self) -> None:
        self.file.write_bytes(struct.pack("q", 0))

    def set(self, offset_s: float) -> None:
        """Set the clock: ahead of the real time by `offset_s`."""
        self.settings.append(Setting(time.time(), offset_s))
        with self.file.open("r+b") as file:
            file.write(struct.pack("q", round(offset_s * SECOND_NS)))


@dataclass(slots=True)
class Clocks:
    """The clocks of all processes, and the beginning of the run."""

    directory: Path
    library: Path | None
    begun_s: float = field(default_factory=time.time)
    by_name: dict[str, Clock] = field(default_factory=dict)

    def values(self, name: str) -> Mapping[str, str]:
        """Return the variables with which a process has a clock of its own."""
        if self.library is None:
            return {}
        clock = self.by_name.setdefault(name, Clock(self.directory / f"{name}.clock"))
        return {"LD_PRELOAD": str(self.library), "CHAOS_CLOCK_FILE": str(clock.file)}

    def real_s(self, name: str, written_s: float) -> float:
        """
        Return the real time of a moment that a process wrote by its own clock.

        Offsets are longer than a run. So only one of them leads to a moment of the run.
        """
        clock = self.by_name.get(name)
        offsets = (setting.offset_s for setting in clock.settings) if clock else ()
        for offset_s in (0.0, *offsets):
            if self.begun_s - SLACK_S <= written_s - offset_s <= time.time() + SLACK_S:
                return written_s - offset_s
        return written_s

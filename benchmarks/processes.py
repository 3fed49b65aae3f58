"""Processes that a benchmark starts and always ends, and their CPU time."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
END_S = 20.0
CORES = psutil.cpu_count() or 1
KEPT = "PIPELINE_KAFKA_LIBS"


def say(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)


def environment(values: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without the pipeline's settings, plus `values`."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if name == KEPT or not name.startswith(("PIPELINE_", "RAY_ADDRESS"))
    }
    return {**ours, "PYTHONPATH": str(ROOT), **values}


@contextlib.contextmanager
def started(
    arguments: Sequence[str], values: Mapping[str, str], *, home: Path
) -> Iterator["subprocess.Popen[str]"]:
    """
    Run `python ARGUMENTS` during a block; the process ends when its standard input ends.

    It has its own session, so Ctrl-C reaches only the benchmark, which ends its processes in order.
    It runs in `home`, so it does not read the `.env` file of the checkout.
    """
    process = subprocess.Popen(
        [sys.executable, *arguments], env=environment(values), cwd=home, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        end(process)


def end(process: "subprocess.Popen[str]") -> None:
    """Close the standard input of a process, and kill it if it does not end."""
    for ask in (lambda: _close_input(process), process.terminate, process.kill):
        ask()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
            break
    if process.stdout is not None:
        process.stdout.close()


def _close_input(process: "subprocess.Popen[str]") -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and its children so far, including ended children."""
    total = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total


def busy_s() -> float:
    """Return the CPU seconds that the whole machine has used so far."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq + times.steal


class Usage:
    """CPU time between `begin` and `finish`: of some processes, by name, and of the machine."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._begun_s = self._machine_s = 0.0
        self.by_stage: dict[str, float] = {}
        self.other_s = 0.0
        self.load = 0.0  # 1.0 is all of the machine

    def begin(self) -> None:
        """Count from here."""
        self._begun_s, self._machine_s = time.monotonic(), busy_s()
        self.by_stage = self._now()

    def finish(self) -> None:
        """Count up to here."""
        self.by_stage = {name: spent - self.by_stage[name] for name, spent in self._now().items()}
        machine_s = busy_s() - self._machine_s
        self.other_s = max(0.0, machine_s - sum(self.by_stage.values()))
        self.load = machine_s / ((time.monotonic() - self._begun_s) * CORES)

    def _now(self) -> dict[str, float]:
        return {name: cpu_s(pid) for name, pid in self._pids.items()}

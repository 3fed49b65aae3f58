"""The child processes of a chaos run: start, kill, freeze, restart, end."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
KEPT = "PIPELINE_KAFKA_LIBS"
RESTART_S = 1.0  # Ray restarts an actor in about this time
POLL_S = 0.1
KILL_S = 60.0  # from kill -9 to the end of a process


def environment(values: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without the user's settings, plus `values`."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name == KEPT or not name.startswith(("PIPELINE_", "RAY_"))
    }
    return {**inherited, "PYTHONPATH": str(ROOT), **values}


async def in_thread(function: Callable[[], None]) -> None:
    """Run a blocking function to its end, also if the caller is cancelled meanwhile."""
    running = asyncio.ensure_future(asyncio.to_thread(function))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await running
        raise


def leftovers(directory: Path) -> list[str]:
    """Return the processes that still work in a directory."""
    processes = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = [*(process.info["cmdline"] or ()), process.info["cwd"] or ""]
        if any(str(directory) in word for word in words):
            processes.append(f"process {process.info['pid']} ({' '.join(words)[:200]})")
    return processes


@dataclass(slots=True)
class Child:
    """
    A process that is restarted when it ends, until `end`.

    Attributes:
        name: For logs, such as `producer-1`.
        arguments: Of Python.
        values: Variables of its environment.
        directory: Where it runs and where its log is.
        starts: How often it was started.
        crashes: How often it ended without a fault of ours.
    """

    name: str
    arguments: Sequence[str]
    values: Mapping[str, str]
    directory: Path
    starts: int = 0
    crashes: int = 0
    restarting: bool = True
    frozen: bool = False
    process: "subprocess.Popen[bytes] | None" = None
    _ended_s: float | None = None
    _expected: bool = False
    _keeper: "asyncio.Task[None] | None" = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        """The file with its output."""
        return self.directory / f"{self.name}.log"

    @property
    def running(self) -> bool:
        """Whether it is alive."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """Its pid; 0 while it is not running."""
        return self.process.pid if self.running and self.process is not None else 0

    def start(self) -> None:
        """Start it in a session and a process group of its own, and keep it running."""
        self._spawn()
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    def _spawn(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.arguments],
                env=environment(self.values),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.starts += 1
        self.frozen = False
        self._expected = False
        self._ended_s = None

    async def _keep(self) -> None:
        """Restart the process a moment after it ended, as a supervisor does."""
        while True:
            await asyncio.sleep(POLL_S)
            if self.running or not self.restarting:
                continue
            if self._ended_s is None:
                self._ended_s = time.monotonic()
                self.crashes += not self._expected
            elif time.monotonic() - self._ended_s >= RESTART_S:
                self._spawn()

    def kill(self) -> None:
        """Kill it and its children: kill -9 of its process group."""
        self._expected = True
        self._signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(KILL_S)

    def freeze(self) -> None:
        """Suspend it: SIGSTOP."""
        self.frozen = True
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue after `freeze`."""
        self.frozen = False
        self._signal(signal.SIGCONT)

    async def stop_restarting(self) -> None:
        """Leave the process ended when it ends."""
        self.restarting = False
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None

    async def end(self, *, timeout_s: float) -> bool:
        """Request an orderly end, kill it after `timeout_s`; return whether the end was orderly."""
        await self.stop_restarting()
        if not self.running or self.process is None:
            return self.process is not None and self.process.returncode == 0
        self.thaw()
        self.process.terminate()
        deadline_s = time.monotonic() + timeout_s
        while self.running and time.monotonic() < deadline_s:
            await asyncio.sleep(POLL_S)
        orderly = not self.running
        self.kill()
        return orderly

    def _signal(self, number: int) -> None:
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

"""One server as a child process in a session of its own: start, stop, kill, pause, find again."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ray_pipeline.errors import ServerError

POLL_S = 0.02
LOG_LINES = 15


@dataclass(frozen=True, slots=True)
class Mark:
    """A process, told apart from a later one with the same number by its start time."""

    pid: int
    started: int  # clock ticks since boot, from /proc


def mark(pid: int) -> Mark | None:
    """Return the mark of a living process, None if there is none (a zombie is not living)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else Mark(pid, int(fields[19]))


def alive(process: Mark | None) -> bool:
    """Say whether that very process lives."""
    return process is not None and mark(process.pid) == process


def free_port(preferred: int | None = None) -> int:
    """Return a free TCP port at 127.0.0.1, the preferred one if nobody listens there."""
    for port in (preferred, 0):
        if port is None:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ServerError("no TCP port is free at 127.0.0.1")


def answers(port: int) -> bool:
    """Say whether somebody accepts connections at a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class ServerProcess:
    """
    A server's process. It outlives its parent, and Ctrl-C in a terminal does not reach it.
    """

    def __init__(self, name: str, *, log: Path, user: int | None = None) -> None:
        self.name = name
        self._log = log
        self._user = user
        self._child: subprocess.Popen[bytes] | None = None
        self.mark: Mark | None = None

    @property
    def running(self) -> bool:
        """Say whether it lives."""
        if self._child is not None:
            self._child.poll()  # reap it, or it would stay as a zombie
        return alive(self.mark)

    def adopt(self, process: Mark | None) -> None:
        """Take over a process that an earlier parent started."""
        self.mark = process

    def spawn(
        self, command: Sequence[str], *, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start it, its output going to the log."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603 - the command is ours
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user is not None else None,
                cwd="/",
            )
        self.mark = mark(self._child.pid)

    def wait_ready(self, ready: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
        """
        Wait until `ready` says so.

        Raises:
            ServerError: If it dies or takes too long; the text has the log's last lines.
        """
        deadline_s = time.monotonic() + timeout_s
        while not ready():
            if not self.running:
                raise self._failed("ended while starting")
            if time.monotonic() > deadline_s:
                raise self._failed(f"did not answer within {timeout_s:g} s")
            time.sleep(POLL_S)

    def stop(self, number: int = signal.SIGTERM, *, timeout_s: float = 20.0) -> None:
        """Ask it to end, and make it end."""
        if self.running:
            self._signal(number)
            if not self._gone(timeout_s):
                self.kill()
        self.mark = None

    def kill(self) -> None:
        """Kill it and its children, as `kill -9` does, and wait until it is gone."""
        if self.running:
            self._signal(signal.SIGKILL, group=True)
            self._gone(10.0)
        self.mark = None

    def pause(self) -> None:
        """Freeze it and its children; sockets stay open."""
        self._signal(signal.SIGSTOP, group=True)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._signal(signal.SIGCONT, group=True)

    def _signal(self, number: int, *, group: bool = False) -> None:
        if self.mark is None or not alive(self.mark):
            return
        if group:
            os.killpg(self.mark.pid, number)
        else:
            os.kill(self.mark.pid, number)

    def _gone(self, timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while self.running:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(POLL_S)
        return True

    def _failed(self, what: str) -> ServerError:
        try:
            tail = self._log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        except OSError:
            tail = []
        self.kill()
        return ServerError(
            f"{self.name} {what}; the end of its log:\n"
            + "\n".join(f"  | {line}" for line in tail),
            fix=f"read {self._log}",
        )

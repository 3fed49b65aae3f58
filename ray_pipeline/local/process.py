"""One server's process in a session of its own: start, stop, kill, pause, and find it again."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from ray_pipeline.errors import PortTaken, ServerError
from ray_pipeline.local.ports import is_free

__all__ = ["ProcessId", "ServerProcess", "identify", "is_alive"]

POLL_S = 0.02
KILL_S = 10.0
LOG_LINES = 15
LOG_BYTES = 10_000_000
# The text of the C library (Postgres, Valkey, Java), of musl (Tansu) and of Go (etcd).
ADDRESS_IN_USE = re.compile(r"address (already )?in use", re.IGNORECASE)
SAME_START_S = 0.5  # what two readings of one start time may differ by when the clock is set


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process, told apart by its start from a later one that was given the same number."""

    pid: int
    started_s: float  # since the epoch


def identify(pid: int) -> ProcessId | None:
    """Return the identity of a living process, None if there is none. A zombie is not alive."""
    try:
        process = psutil.Process(pid)
        # While other threads of a killed process are still ending, its main thread is a zombie
        # already, and its sockets are open: Java's listen a moment longer.
        if process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1:
            return None
        return ProcessId(pid, process.create_time())
    except psutil.NoSuchProcess:
        return None


def is_alive(identity: ProcessId) -> bool:
    """Say whether that very process lives. Where it was our child and has ended, reap it."""
    found = identify(identity.pid)
    if found is None:
        _reap(identity.pid)
        return False
    return abs(found.started_s - identity.started_s) < SAME_START_S


class ServerProcess:
    """A server's process. It outlives its parent, and Ctrl-C in a terminal does not reach it."""

    def __init__(self, name: str, *, log: Path, identity: ProcessId | None = None) -> None:
        self.name = name
        self.log = log
        self.identity = identity
        self._log_start = 0  # where the log of this start begins

    @property
    def running(self) -> bool:
        """Say whether it lives."""
        return self.identity is not None and is_alive(self.identity)

    def spawn(self, command: Sequence[str], *, environ: Mapping[str, str] | None = None) -> None:
        """
        Start `command`, its output going to the log.

        Raises:
            ServerError: If the program cannot be executed.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        _rotate(self.log)
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        # Not subprocess.Popen, whose objects complain when they are forgotten before their process.
        try:
            pid = os.posix_spawn(
                # PATH, HOME and the like.
                command[0], list(command), {**os.environ, **(environ or {})},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, str(self.log),
                     os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
            )  # fmt: skip
        except OSError as error:
            raise ServerError(f"{self.name} cannot be executed: {error}") from error
        self.identity = identify(pid) or ProcessId(pid, 0.0)

    def wait_ready(
        self, ping: Callable[[], object], *, timeout_s: float, ports: Sequence[int] = ()
    ) -> None:
        """
        Wait until `ping` returns; an exception from it means: not yet.

        Raises:
            PortTaken: If the process dies because another program listens at one of its `ports`.
            ServerError: If the process dies or takes too long; the text has the log's last lines.
        """
        deadline_s = time.monotonic() + timeout_s
        while (reason := _failure(ping)) is not None:
            if not self.running:
                raise self._early_end(ports)
            if time.monotonic() > deadline_s:
                raise self.failure(f"did not answer within {timeout_s:g} s ({reason})")
            time.sleep(POLL_S)

    def answers(self, ping: Callable[[], object], *, timeout_s: float) -> bool:
        """Say whether `ping` returns within `timeout_s`; an exception from it means: not yet."""
        deadline_s = time.monotonic() + timeout_s
        while _failure(ping) is not None:
            if time.monotonic() > deadline_s or not self.running:
                return False
            time.sleep(POLL_S)
        return True

    def stop(self, number: int = signal.SIGTERM, *, timeout_s: float = 30.0) -> None:
        """Ask it to end, and make it end after `timeout_s`. Returns when it is gone."""
        if self.identity is not None and self.running:
            self.resume()  # a paused process would not hear it
            os.kill(self.identity.pid, number)
            if not self._gone([self.identity], timeout_s=timeout_s):
                self.kill()
        self.identity = None

    def kill(self) -> None:
        """
        Kill it and its children at once, as a power cut would. Returns when all are gone.

        Raises:
            ServerError: If the system does not let go of it.
        """
        tree = self._tree()
        _signal(tree, signal.SIGKILL)
        if not self._gone(tree, timeout_s=KILL_S):
            raise ServerError(f"{self.name} (pid {tree[0].pid}) does not end, even by kill -9")
        self.identity = None

    def pause(self) -> None:
        """Freeze it and its children; their sockets stay open."""
        _signal(self._tree(), signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        _signal(self._tree(), signal.SIGCONT)

    def check_listening(self, ports: Iterable[int]) -> None:
        """
        Check that this very process listens at every one of `ports`, and no other.

        Raises:
            ConnectionError: If it does not.
        """
        missing = set(ports) - self._listening_ports()
        if missing:
            raise ConnectionError(f"{self.name} does not listen at {sorted(missing)}")

    def failure(self, what: str) -> ServerError:
        """Return an error that quotes the end of the log."""
        return ServerError(self._quoting_log(what), fix=f"read {self.log}")

    def _early_end(self, ports: Sequence[int]) -> ServerError:
        taken = [port for port in ports if not is_free(port)]
        # A log may be in the user's language; and who took a port may be gone again.
        if taken or ADDRESS_IN_USE.search(self._log_of_this_start()):
            listed = ", ".join(str(port) for port in taken or ports)
            return PortTaken(
                self._quoting_log(f"ended because a port is taken ({listed})"),
                fix=f"end the program that listens there, or read {self.log}",
            )
        return self.failure("ended while starting")

    def _listening_ports(self) -> set[int]:
        if self.identity is None or not self.running:
            return set()
        connections = psutil.Process(self.identity.pid).net_connections(kind="tcp")
        return {end.laddr.port for end in connections if end.status == psutil.CONN_LISTEN}

    def _quoting_log(self, what: str) -> str:
        quoted = "\n".join(f"  | {line}" for line in _tail(self.log))
        return f"{self.name} {what}; the end of its log:\n{quoted}"

    def _log_of_this_start(self) -> str:
        try:
            with self.log.open("rb") as log:
                log.seek(self._log_start)
                return log.read(LOG_BYTES).decode(errors="replace")
        except OSError:
            return ""

    def _tree(self) -> list[ProcessId]:
        # By descent, not by process group: each of Postgres' backends leads a group of its own.
        if self.identity is None or not self.running:
            return []
        try:
            children = psutil.Process(self.identity.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        found = (identify(child.pid) for child in children)
        return [self.identity, *(child for child in found if child is not None)]

    def _gone(self, processes: Sequence[ProcessId], *, timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while any(is_alive(process) for process in processes):
            if time.monotonic() > deadline_s:
                return False
            time.sleep(POLL_S)
        return True


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # somebody else's child


def _signal(processes: Sequence[ProcessId], number: int) -> None:
    for process in processes:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            continue


def _failure(ping: Callable[[], object]) -> str | None:
    try:
        ping()
    except Exception as error:  # whatever the client library makes of a server that is starting
        return f"{type(error).__name__}: {error}".strip()
    return None


def _tail(log: Path) -> list[str]:
    try:
        return log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    except OSError as error:
        return [f"(no log: {error})"]


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".old.log"))

"""One server's process in a session of its own: start, stop, kill, pause, and reattach to it."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from ray_pipeline.errors import PortTaken, ServerError
from ray_pipeline.local.ports import is_free
from ray_pipeline.local.server_environment import server_environment

__all__ = ["ProcessId", "ServerProcess", "identify", "is_alive"]

POLL_S = 0.02
KILL_S = 10.0
LOG_LINES = 15
LOG_BYTES = 10_000_000
# The text of the C library (Postgres, Valkey, Java), of musl (Tansu) and of Go (etcd).
ADDRESS_IN_USE = re.compile(r"address (already )?in use", re.IGNORECASE)
# Linux counts a start from the boot, and psutil adds the boot time, which moves when the clock is
# set: two readings of the same start can differ by this much.
SAME_START_S = 0.5


@dataclass(frozen=True, slots=True)
class ProcessId:
    """
    A process. The system reuses a pid after its process has ended, but not with the same start.

    A recorded pid alone would be dangerous: after a reboot it may belong to any other process.
    """

    pid: int
    started_s: float  # since the epoch


def identify(pid: int) -> ProcessId | None:
    """Return the identity of a living process, or None. A zombie is not alive."""
    try:
        process = psutil.Process(pid)
        # The main thread of a killed process can be a zombie while its other threads are still
        # ending. Its sockets are open until then; Java's listen a moment longer.
        if process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1:
            return None
        return ProcessId(pid, process.create_time())
    except psutil.NoSuchProcess:
        return None


def is_alive(identity: ProcessId) -> bool:
    """Return whether this very process is alive. Reap it if it is an ended child of ours."""
    current = identify(identity.pid)
    if current is None:
        _reap(identity.pid)
        return False
    return abs(current.started_s - identity.started_s) < SAME_START_S


class ServerProcess:
    """
    The process of a server. It outlives its parent, and Ctrl-C in a terminal does not reach it.

    A later program reattaches to it by the `identity` that an earlier one has recorded.
    """

    def __init__(self, name: str, *, log: Path, identity: ProcessId | None = None) -> None:
        self.name = name
        self.log = log
        self.identity = identity
        self._log_start = 0  # the offset in the log at which the output of this start begins

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self.identity is not None and is_alive(self.identity)

    def spawn(self, command: Sequence[str]) -> None:
        """
        Start `command` and append its output to the log.

        Raises:
            ServerError: If the program cannot be executed.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        _rotate(self.log)
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        # Not subprocess.Popen: it warns when it is deleted while its process is running, and this
        # process is meant to outlive it.
        try:
            pid = os.posix_spawn(
                command[0], list(command), server_environment(),
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
        Wait until `ping` returns; an exception from it means "not yet".

        Raises:
            PortTaken: If the process ends because another program listens at one of its `ports`.
            ServerError: If the process ends, or takes too long; the text quotes its log.
        """
        failure = self._wait_for_answer(ping, timeout_s)
        if failure is None:
            return
        if self.running:
            raise self._error(f"did not answer within {timeout_s:g} s ({failure})")
        taken = [port for port in ports if not is_free(port)]
        # The log may be in the user's language, so the ports are checked too. The program that took
        # a port may have ended, so the log is searched too.
        if taken or ADDRESS_IN_USE.search(self._output()):
            listed = ", ".join(str(port) for port in taken or ports)
            raise PortTaken(
                self._quoting_log(f"ended because a port is taken ({listed})"),
                fix=f"end the program that listens there, or read {self.log}",
            )
        raise self._error("ended while starting")

    def answers(self, ping: Callable[[], object], *, timeout_s: float) -> bool:
        """Return whether `ping` returns within `timeout_s`; an exception means "not yet"."""
        return self._wait_for_answer(ping, timeout_s) is None

    def stop(self, number: int = signal.SIGTERM, *, timeout_s: float = 30.0) -> None:
        """Send the signal, and kill the process after `timeout_s`. Returns when it has ended."""
        if self.identity is not None and self.running:
            self.resume()  # a suspended process would not handle the signal
            os.kill(self.identity.pid, number)
            if not _all_end([self.identity], timeout_s=timeout_s):
                self.kill()
        self.identity = None

    def kill(self) -> None:
        """
        Kill the process and its children, as a power cut would. Returns when all have ended.

        Raises:
            ServerError: If one of them does not end.
        """
        tree = self._tree()
        _signal(tree, signal.SIGKILL)
        if not _all_end(tree, timeout_s=KILL_S):
            raise ServerError(f"{self.name} (pid {tree[0].pid}) does not end after kill -9")
        self.identity = None

    def pause(self) -> None:
        """Suspend the process and its children; their sockets stay open."""
        _signal(self._tree(), signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after `pause`."""
        _signal(self._tree(), signal.SIGCONT)

    def check_listening(self, ports: Iterable[int]) -> None:
        """
        Check that this very process listens at each of `ports`.

        Raises:
            ConnectionError: If it does not.
        """
        missing_ports = set(ports)
        if self.identity is not None and self.running:
            connections = psutil.Process(self.identity.pid).net_connections(kind="tcp")
            missing_ports -= {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN}
        if missing_ports:
            raise ConnectionError(f"{self.name} does not listen at {sorted(missing_ports)}")

    def _wait_for_answer(self, ping: Callable[[], object], timeout_s: float) -> str | None:
        """Return None once `ping` returns; its failure if the process ends or the time is up."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                ping()
                return None
            except Exception as error:  # client libraries raise all kinds while a server starts
                failure = f"{type(error).__name__}: {error}".strip()
            if time.monotonic() > deadline_s or not self.running:
                return failure
            time.sleep(POLL_S)

    def _error(self, problem: str) -> ServerError:
        return ServerError(self._quoting_log(problem), fix=f"read {self.log}")

    def _quoting_log(self, problem: str) -> str:
        quoted = "\n".join(f"  | {line}" for line in self._output().splitlines()[-LOG_LINES:])
        return f"{self.name} {problem}; the end of its log:\n{quoted}"

    def _output(self) -> str:
        """Return the log since the last start."""
        try:
            return self.log.read_bytes()[self._log_start :].decode(errors="replace")
        except OSError as error:
            return f"(no log: {error})"

    def _tree(self) -> list[ProcessId]:
        # By descent, not by process group: each of Postgres' backends leads a group of its own.
        if self.identity is None or not self.running:
            return []
        try:
            children = psutil.Process(self.identity.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        identities = (identify(child.pid) for child in children)
        return [self.identity, *(child for child in identities if child is not None)]


def _all_end(processes: Sequence[ProcessId], *, timeout_s: float) -> bool:
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
        return  # the child of another process


def _signal(processes: Sequence[ProcessId], number: int) -> None:
    for process in processes:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            continue


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".old.log"))

"""The node from the outside: start it, run commands in its network, stop it."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kube.cache import CACHE, KUBECONFIG, LOGS, PROGRAMS, PROVIDERS, REPOSITORY
from tests.kube.node import READY, cgroup_paths
from tests.kube.steps import RUN_S, step

END_S = 30.0


class NodeFailed(Exception):
    """The node ended before it was ready."""


class RunningNode:
    """`with RunningNode() as node: node.run(command)`; nothing of it is left afterwards."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = (CACHE / "node.lock").open("w")

    def __enter__(self) -> Self:
        """Start the node and wait until it is ready."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NodeFailed(
                "another node runs on this machine; its tests must end first"
            ) from None
        remove_cgroups()
        # The node dies with this process even if it is killed: `setpriv` asks the kernel for the
        # signal, and `unshare` passes it on to process 1 of the node's namespace.
        command = [
            "setpriv", "--pdeathsig", "KILL",
            "unshare", "--pid", "--fork", "--kill-child", "--mount-proc",
            "--mount", "--net", "--uts", "--ipc",
            sys.executable, "-m", "tests.kube.node",
        ]  # fmt: skip
        with step("start the node"):
            self._process = subprocess.Popen(
                command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                text=True, start_new_session=True,
            )  # fmt: skip
            try:
                self._wait_until_ready()
            except BaseException:
                self._stop()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Stop the node."""
        with step("stop the node"):
            self._stop()

    @property
    def process_1(self) -> int:
        """The process 1 of the node, by its number outside."""
        assert self._process is not None
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        if not children:
            raise NodeFailed(f"the node ended; read {LOGS}")
        return int(children[0])

    def command(self, *command: str | Path) -> list[str]:
        """Return a command that runs another one in the node's network, as a host process."""
        return ["nsenter", f"--net=/proc/{self.process_1}/ns/net", *map(str, command)]

    def environment(self) -> dict[str, str]:
        """Return the environment of programs that use the node."""
        programs = f"{PROGRAMS}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {
            **os.environ,
            "PATH": programs,
            "KUBECONFIG": str(KUBECONFIG),
            "KUBE_TEST_PROVIDERS": str(PROVIDERS),
        }

    def run(self, command: Sequence[str | Path]) -> int:
        """Run a command in the node's network; return its status."""
        return subprocess.run(
            self.command(*command),
            env=self.environment(),
            check=False,
            cwd=REPOSITORY,
            timeout=RUN_S,
        ).returncode

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == READY:
                return
            print(f"kube:   {line.rstrip()}", file=sys.stderr, flush=True)
        raise NodeFailed(f"the node ended before it was ready; read {LOGS}")

    def _stop(self) -> None:
        assert self._process is not None
        try:
            os.kill(self.process_1, signal.SIGTERM)
            self._process.wait(END_S)
        except (NodeFailed, ProcessLookupError, subprocess.TimeoutExpired):
            # `unshare --kill-child` kills process 1, and the kernel everything else.
            self._process.kill()
            self._process.wait()
        remove_cgroups()


def remove_cgroups() -> None:
    """Remove the empty cgroups that a node left."""
    for root in cgroup_paths():
        if not root.exists():
            continue
        for directory, _, _ in os.walk(root, topdown=False):
            try:
                Path(directory).rmdir()
            except OSError:
                # A container that was killed a moment ago is still in it; the next boot removes it.
                continue

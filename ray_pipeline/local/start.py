"""A server's start. If another program takes one of its ports, the start is repeated at others."""

import logging
from collections.abc import Callable
from typing import Protocol

from ray_pipeline.errors import PortTaken
from ray_pipeline.local.process import ServerProcess
from ray_pipeline.local.server_ports import ServerPorts

log = logging.getLogger(__name__)

RESTARTS = 4


class Startable(Protocol):
    """The part of a server that a start uses."""

    ports: ServerPorts
    process: ServerProcess

    def spawn(self) -> None:
        """Hold the ports, start the process and do not wait."""

    def wait_ready(self) -> None:
        """Wait until the server answers, then release its ports."""


def start(server: Startable) -> None:
    """
    Start a server and wait until it answers.

    Raises:
        MissingDependency: If a program or package is not installed.
        ServerError: If the server does not start.
        PortTaken: If its ports were also taken at each of `RESTARTS` restarts.
    """
    server.spawn()
    wait_ready(server, on_progress=log.warning)


def wait_ready(
    server: Startable,
    *,
    on_progress: Callable[[str], None],
    on_spawn: Callable[[], None] = lambda: None,
) -> None:
    """
    Wait until a server that was spawned answers.

    A held port is safe from other reservations, but not from a program that ignores them. The loss
    of a port shows only when the server fails to bind it, so the start is repeated then: ports that
    are still free stay the same, the others are replaced.

    Args:
        server: The server.
        on_progress: Called with a message after every restart.
        on_spawn: Called after every restart, which changes the process and some ports.

    Raises:
        ServerError: If the server does not start.
        PortTaken: If its ports were also taken at each of `RESTARTS` restarts.
    """
    for _ in range(RESTARTS):
        try:
            return server.wait_ready()
        except PortTaken:
            before = server.ports.numbers
            server.spawn()
            on_spawn()
            on_progress(
                f"another program took a port of {server.process.name}: starting it again at "
                f"{_join(server.ports.numbers)} instead of {_join(before)}"
            )
    return server.wait_ready()


def _join(ports: tuple[int, ...]) -> str:
    return ", ".join(str(port) for port in ports)

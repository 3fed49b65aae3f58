"""A listening socket, bound by this process: its port cannot go to anybody else in between."""

import socket

from ray_pipeline.errors import ServerError

BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """
    Return a socket that listens at `host` and `port`; 0 lets the system pick a free port.

    Raises:
        ServerError: If nobody can listen there, for example because another program does.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ServerError(
            f"cannot listen at {host} port {port}: {error.strerror or error}",
            fix="end the program that listens there, or name another host or port (0: any port "
            "that is free)",
        ) from error

"""A listening socket that this process binds itself, so no other program can take its port."""

import socket

from ray_pipeline.errors import ServerError

BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """
    Return a socket that listens at `host` and `port`; port 0 picks a free one.

    Raises:
        ServerError: If the address cannot be bound, for example because another program uses it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ServerError(
            f"cannot listen at {host} port {port}: {error.strerror or error}",
            fix="end the program that listens there, or name another host or port (0: any free "
            "port)",
        ) from error

"""Free TCP ports at 127.0.0.1."""

import random
import socket
from collections.abc import Iterator

from ray_pipeline.errors import ServerError

HOST = "127.0.0.1"
# Below Linux' ephemeral range. In that range a client that reconnects to a dead server's port can
# be given the very same port as its own, connect to itself, and so keep the server from binding.
RANGE = range(20_000, 32_000)
ATTEMPTS = 200


def is_free(port: int) -> bool:
    """Say whether a server could listen at `port` now."""
    with socket.socket() as probe:
        # As servers do: a port whose old connections are still being forgotten counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None) -> int:
    """
    Return a port at which nobody listens: `preferred` if it is one.

    Raises:
        ServerError: If none was found.
    """
    for port in _candidates(preferred):
        if is_free(port):
            return port
    raise ServerError(f"no free TCP port at {HOST} in {ATTEMPTS} attempts", fix="stop some servers")


def _candidates(preferred: int | None) -> Iterator[int]:
    if preferred is not None:
        yield preferred
    yield from random.sample(RANGE, ATTEMPTS)

"""
Free TCP ports of this machine, held until a server has taken them.

Linux lets two sockets have one port if both set SO_REUSEADDR and neither listens. A reservation
consists of two sockets per port that do not listen:

- The guard is bound at GUARD *before* it sets SO_REUSEADDR. Such a bind fails if any other socket
  is bound there, so no two reservations share a port. Nobody connects to GUARD, so no forgotten
  connection (TIME_WAIT) makes this bind fail, as it would at 127.0.0.1 after a server's restart.
- The holder is bound at every IPv4 address *with* SO_REUSEADDR. It fails if a server listens at
  any of them.

A server that sets SO_REUSEADDR, as nearly all do, can listen at the port while it is held; a
client is refused. Once the server listens, the reservation can be released without a gap. Both
sockets also set SO_REUSEPORT after they are bound: Ray Serve sets only that. This works for
servers of the same user.
"""

import errno
import random
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, islice, repeat
from types import TracebackType

from ray_pipeline.errors import ServerError

HOST = "127.0.0.1"
GUARD = "127.0.0.2"
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - bound, but never listening
# Below Linux' ephemeral range. In that range a client that reconnects to a dead server's port can
# be given the very same port as its own, connect to itself, and so keep the server from binding.
RANGE = range(20_000, 32_000)
ATTEMPTS = 200
TAKEN = frozenset({errno.EADDRINUSE, errno.EACCES})  # by another program; or for root only


class Reservation:
    """
    Distinct TCP ports, all held at the same time until `release`.

    A held port refuses connections. No other reservation on this machine contains it.
    """

    def __init__(self, ports: tuple[int, ...], held: ExitStack) -> None:
        self.ports = ports
        self._held = held

    def release(self) -> None:
        """Let the ports go. A second call does nothing."""
        self._held.close()

    def __enter__(self) -> "Reservation":
        """Return the reservation itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release the ports."""
        self.release()


def reserve(count: int = 1, *, preferred: Sequence[int] = ()) -> Reservation:
    """
    Hold `count` free ports as one set.

    Args:
        count: How many ports.
        preferred: `ports[i]` is `preferred[i]` if that port is free; 0 means no preference.

    Raises:
        ServerError: If there are not enough free ports. Nothing is held then.
    """
    with ExitStack() as held:
        wishes = islice(chain(preferred, repeat(0)), count)
        ports = tuple(_hold_first(_candidates(wish), held) for wish in wishes)
        return Reservation(ports, held.pop_all())


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


def _candidates(preferred: int) -> Iterator[int]:
    if preferred:
        yield preferred
    yield from random.sample(RANGE, ATTEMPTS)


def _hold_first(candidates: Iterator[int], held: ExitStack) -> int:
    for port in candidates:
        try:
            _hold(port, held)
        except OSError as error:
            if error.errno in TAKEN:
                continue
            raise ServerError(f"no TCP port can be held at {HOST}: {error.strerror}") from error
        return port
    raise ServerError(f"no free TCP port at {HOST} in {ATTEMPTS} attempts", fix="stop some servers")


def _hold(port: int, held: ExitStack) -> None:
    with ExitStack() as sockets:
        guard = sockets.enter_context(socket.socket())
        guard.bind((GUARD, port))
        guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder = sockets.enter_context(socket.socket())
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((EVERY_ADDRESS, port))
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.enter_context(sockets.pop_all())

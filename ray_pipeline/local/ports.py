"""
Free TCP ports of this machine, held until a server has bound them.

To pick a free port and close its socket leaves a gap: until the server binds the port, any other
program can. A reservation closes this gap by a rule of Linux: two sockets may be bound to one port
if both set SO_REUSEADDR and neither listens. It consists of two sockets per port, which never
listen:

- The guard is bound at GUARD *before* it sets SO_REUSEADDR. Such a bind fails if any other socket
  is bound there, so no two reservations share a port. No client connects to GUARD, so no closed
  connection (TIME_WAIT) makes this bind fail, as it would at 127.0.0.1 after a server's restart.
- The holder is bound at every IPv4 address *with* SO_REUSEADDR. This bind fails if a server listens
  at any of them.

A server that sets SO_REUSEADDR, as nearly all do, can listen at a held port; until it does, clients
are refused. Once the server listens, the reservation can be released without a gap. Both sockets
also set SO_REUSEPORT after they are bound, because Ray Serve sets only this option. SO_REUSEPORT
works for servers of the same user only.
"""

import errno
import random
import socket
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack

from ray_pipeline.errors import ServerError

HOST = "127.0.0.1"
GUARD = "127.0.0.2"
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - bound, but never listening
# Below Linux' ephemeral range, from which clients get their ports. A client that keeps connecting
# to the port of a dead server can get this very port as its own. It then connects to itself, and
# the server cannot bind its port again.
RANGE = range(20_000, 32_000)
ATTEMPTS = 200
TAKEN = frozenset({errno.EADDRINUSE, errno.EACCES})  # by another program; or for root only


class Reservation(AbstractContextManager["Reservation"]):
    """
    Distinct TCP ports, all held at the same time until `release`.

    A held port refuses connections. No other reservation on this machine contains it.
    """

    def __init__(self, ports: tuple[int, ...], held: ExitStack) -> None:
        self.ports = ports
        self._held = held

    def release(self) -> None:
        """Release the ports. A second call does nothing."""
        self._held.close()

    def __exit__(self, *_: object) -> None:
        """Release the ports."""
        self.release()


def reserve(count: int = 1, *, preferred: Sequence[int] = ()) -> Reservation:
    """
    Hold `count` free ports as one set.

    Args:
        count: How many ports.
        preferred: `ports[i]` is `preferred[i]` if that port is free; 0 means no preference.

    Raises:
        ServerError: If there are not enough free ports. No port is held then.
    """
    with ExitStack() as held:
        preferences = [*preferred, *[0] * count][:count]
        ports = tuple(_hold_first(_candidates(port), held) for port in preferences)
        return Reservation(ports, held.pop_all())


def is_free(port: int) -> bool:
    """Return whether a server could listen at `port` now."""
    with socket.socket() as probe:
        # Servers set it too: a port of which only closed connections (TIME_WAIT) remain is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _candidates(preferred: int) -> Iterator[int]:
    if preferred:
        yield preferred
    # At random, not in order: processes that start at the same time rarely try the same port.
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
        # Not before the bind: the kernel compares the options at the time of each bind.
        guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder = sockets.enter_context(socket.socket())
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((EVERY_ADDRESS, port))
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Both succeeded: they stay open until the release. Otherwise this block closes the guard.
        held.enter_context(sockets.pop_all())

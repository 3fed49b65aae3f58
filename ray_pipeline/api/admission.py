"""Which WebSockets become clients: those whose token is valid, while there is room for clients."""

import contextlib
import time
from collections.abc import Iterator

from starlette.websockets import WebSocket, WebSocketDisconnect

from ray_pipeline.api.auth import shown
from ray_pipeline.api.lobby import Dropped
from ray_pipeline.api.services import Services
from ray_pipeline.api.socket import (
    BAD_TOKEN,
    POLICY,
    TRY_LATER,
    Bye,
    Command,
    Conversation,
    close,
    hear,
    read,
)


async def push(socket: WebSocket, feed: str) -> None:
    """
    Serve a WebSocket that passed the gate, until either side ends it.

    Nothing is decided or allocated for a feed before the token has been checked, and only a socket
    whose token is valid counts as a client.
    """
    services: Services = socket.app.state.services
    limits = services.limits
    try:
        first = await _authenticated(socket, services)
        hub = services.hubs.get(feed)
        if hub is None:
            raise Bye(POLICY, "no such feed")
        with _counted(services):
            await Conversation(socket, hub, feed=feed, limits=limits).hold(first)
    except Bye as bye:
        await close(socket, bye, within_s=limits.close_s)
    except (Dropped, WebSocketDisconnect, OSError):
        pass


async def _authenticated(socket: WebSocket, services: Services) -> Command | None:
    """
    Accept a socket; return the first message, if that is what showed the token.

    Raises:
        Bye: If no valid token was shown in time.
        Dropped: Likewise, while many others are told so; or if newer sockets needed the place.
        WebSocketDisconnect: If the other side left.
    """
    if shown(socket.scope) is not None:  # the gate has checked it
        await socket.accept()
        return None
    first = await _first_message(socket, services)
    if first is not None and services.keeper.accepts(first.token or ""):
        return first
    if not services.refusals.take(now_s=time.monotonic()):
        raise Dropped
    raise Bye(POLICY, BAD_TOKEN)


async def _first_message(socket: WebSocket, services: Services) -> Command | None:
    limits = services.limits
    try:
        async with services.lobby.place(timeout_s=limits.token_s):
            await socket.accept()
            return read(await hear(socket, message_bytes=limits.message_bytes))
    except TimeoutError:
        return None


@contextlib.contextmanager
def _counted(services: Services) -> Iterator[None]:
    """
    Count a client for the length of a block.

    Raises:
        Bye: If there are too many already.
    """
    if services.clients >= services.limits.clients:
        raise Bye(TRY_LATER, "too many clients; try again later")
    services.clients += 1
    try:
        yield
    finally:
        services.clients -= 1

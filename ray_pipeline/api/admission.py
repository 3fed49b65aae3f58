"""
Admission of WebSockets: a socket becomes a client when its token is valid and a place is free.

A browser cannot set headers on a WebSocket, so the token may come in the first message. Until then
a socket costs memory without any proof, which an attacker could use. Three bounds keep strangers
from harming clients: the lobby bounds the sockets that wait for their token, `refusals` bounds the
sockets that are closed with a reason, and only sockets with a valid token count as clients.
"""

import contextlib
import time
from collections.abc import Iterator

from starlette.websockets import WebSocket, WebSocketDisconnect

from ray_pipeline.api.auth import token_in
from ray_pipeline.api.lobby import Dropped
from ray_pipeline.api.services import Services
from ray_pipeline.api.socket import (
    BAD_TOKEN,
    POLICY,
    TRY_LATER,
    CloseSocket,
    Command,
    Conversation,
    close,
    read,
    receive,
)


async def push(socket: WebSocket, feed: str) -> None:
    """
    Serve a WebSocket that passed the auth middleware, until either side ends it.

    The token is checked first: nothing is decided or allocated for a feed before.
    """
    services: Services = socket.app.state.services
    limits = services.limits
    try:
        first = await _authenticated(socket, services)
        hub = services.hubs.get(feed)
        if hub is None:
            raise CloseSocket(POLICY, "no such feed")
        # Counted only from here on, so that strangers cannot use up the places of clients.
        with _counted(services):
            await Conversation(socket, hub, feed=feed, limits=limits).hold(first)
    except CloseSocket as closing:
        await close(socket, closing, within_s=limits.close_s)
    except (Dropped, WebSocketDisconnect, OSError):
        pass


async def _authenticated(socket: WebSocket, services: Services) -> Command | None:
    """
    Accept a socket; return its first message if that carried the token.

    Raises:
        CloseSocket: If no valid token came in time.
        Dropped: Likewise, if many sockets were refused just now; or if newer sockets needed the
            place in the lobby.
        WebSocketDisconnect: If the client left.
    """
    if token_in(socket.scope) is not None:  # the auth middleware has checked it
        await socket.accept()
        return None
    first = await _first_message(socket, services)
    if first is not None and services.token_check.accepts(first.token or ""):
        return first
    # A proper close waits for the other side: under a flood it would pile up open connections.
    if not services.refusals.take(now_s=time.monotonic()):
        raise Dropped
    raise CloseSocket(POLICY, BAD_TOKEN)


async def _first_message(socket: WebSocket, services: Services) -> Command | None:
    limits = services.limits
    try:
        async with services.lobby.wait_in(timeout_s=limits.token_s):
            await socket.accept()
            return read(await receive(socket, message_bytes=limits.message_bytes))
    except TimeoutError:
        return None


@contextlib.contextmanager
def _counted(services: Services) -> Iterator[None]:
    """
    Count a client for the duration of a block.

    Raises:
        CloseSocket: If there are too many clients.
    """
    if services.clients >= services.limits.clients:
        raise CloseSocket(TRY_LATER, "too many clients; try again later")
    services.clients += 1
    try:
        yield
    finally:
        services.clients -= 1

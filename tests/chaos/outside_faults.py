"""Faults of the venue, of the providers and of the network."""

import asyncio
import signal

from tests.chaos.link import Mode
from tests.chaos.stack import VENUES, Stack

CLOSE_CODES = (1000, 1006, 1011, 1012)
DELAY_S = 0.3


async def venue_close(stack: Stack, key: str, _: float) -> None:
    """Close the connection of one stream, with a code or without a handshake."""
    code = CLOSE_CODES[len(stack.venue_closes) % len(CLOSE_CODES)]
    stack.venue_closes.append(key)
    await stack.venue.control("close", key=key, code=code)


async def venue_silence(stack: Stack, _: str, lasts_s: float) -> None:
    """Send no data; sockets stay open and pings continue."""
    await stack.venue.control("silence", on=True, pings=True)
    try:
        await asyncio.sleep(lasts_s)
    finally:
        await stack.venue.control("silence", on=False)


async def venue_freeze(stack: Stack, _: str, lasts_s: float) -> None:
    """SIGSTOP: sockets stay open, and neither data nor pings arrive."""
    stack.venue.process.send_signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(lasts_s)
    finally:
        stack.venue.process.send_signal(signal.SIGCONT)


async def venue_refuse(stack: Stack, _: str, __: float) -> None:
    """Cut all connections, and answer the next ones of each venue with 429."""
    for venue, streams in VENUES.items():
        count = 2 * len(streams)
        await stack.venue.control("refuse", venue=venue, status=429, retry_after_s=1.0, count=count)
    await stack.venue.control("close", code=1006)


async def venue_garbage(stack: Stack, _: str, __: float) -> None:
    """Send frames that no client can use."""
    for kind in ("malformed", "truncated", "wrong_type", "unknown_type", "future"):
        await stack.venue.control("frame", kind=kind)


async def provider_refuses(stack: Stack, provider: str, lasts_s: float) -> None:
    """429 with Retry-After."""
    await _provider(stack, provider, "refuse", lasts_s, seconds=2.0)


async def provider_breaks(stack: Stack, provider: str, lasts_s: float) -> None:
    """Half an answer, then the end of the connection."""
    await _provider(stack, provider, "truncated", lasts_s)


async def _provider(
    stack: Stack, provider: str, kind: str, lasts_s: float, **arguments: object
) -> None:
    await stack.providers.fault(provider, kind, **arguments)
    try:
        await asyncio.sleep(lasts_s)
    finally:
        await stack.providers.fault(provider, "clear")


async def link_stall(stack: Stack, link: str, lasts_s: float) -> None:
    """Nothing passes; connections stay open."""
    await _link(stack, link, "stall", lasts_s)


async def link_drop(stack: Stack, link: str, lasts_s: float) -> None:
    """Bytes are swallowed; then the connections are cut."""
    await _link(stack, link, "drop", lasts_s)


async def link_reset(stack: Stack, link: str, lasts_s: float) -> None:
    """Connections are cut, new ones too."""
    await _link(stack, link, "reset", lasts_s)


async def link_delay(stack: Stack, link: str, lasts_s: float) -> None:
    """Every byte arrives DELAY_S later."""
    await _link(stack, link, "delay", lasts_s, delay_s=DELAY_S)


async def _link(
    stack: Stack, link: str, mode: Mode, lasts_s: float, *, delay_s: float = 0.0
) -> None:
    stack.links[link].set(mode, delay_s=delay_s)
    try:
        await asyncio.sleep(lasts_s)
    finally:
        stack.links[link].set("pass")

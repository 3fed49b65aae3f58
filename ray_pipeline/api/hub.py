"""One feed's push: one MGET an interval, however many clients listen."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence

from ray_pipeline.api.client_queue import Full, Outbox, frame
from ray_pipeline.errors import CacheUnavailable

log = logging.getLogger(__name__)

Read = Callable[[Sequence[str]], Awaitable[list[str | None]]]
Interest = frozenset[str]


class Client:
    """A client of the hub: what it wants, and what it still has to hear."""

    def __init__(self, feed: str) -> None:
        self.outbox = Outbox(feed)
        self.interest: Interest = frozenset()
        self.fresh: set[str] = set()  # wanted since the last round


class Hub:
    """Reads what anybody wants, and offers each client what changed of what it wants."""

    def __init__(self, feed: str, read: Read, *, interval_s: float) -> None:
        self._feed = feed
        self._read = read
        self._interval_s = interval_s
        self._listeners: dict[Interest, set[Client]] = {}
        self._last: dict[str, str] = {}
        self.trouble = ""  # why there are no values, where there are none

    def want(self, client: Client, symbols: Collection[str]) -> None:
        """Replace what a client wants; the values that it did not want before come next."""
        interest = frozenset(symbols)
        client.fresh = (client.fresh & interest) | (interest - client.interest)
        client.outbox.forget(set(client.interest - interest))
        self._leave(client)
        client.interest = interest
        if interest:
            self._listeners.setdefault(interest, set()).add(client)

    def leave(self, client: Client) -> None:
        """Forget a client."""
        self._leave(client)
        client.interest = frozenset()

    def _leave(self, client: Client) -> None:
        there = self._listeners.get(client.interest)
        if there is not None:
            there.discard(client)
            if not there:
                del self._listeners[client.interest]

    @property
    def symbols(self) -> list[str]:
        """What anybody wants, in order."""
        return sorted(frozenset().union(*self._listeners))

    async def run(self) -> None:
        """Do a round an interval, for ever; an outage of Redis is waited out."""
        next_s = time.monotonic()
        while True:
            next_s = max(next_s + self._interval_s, time.monotonic())
            await asyncio.sleep(next_s - time.monotonic())
            try:
                await self.round()
            except Exception:
                # A round that failed for a reason nobody foresaw shall not end the push.
                log.exception("push of %s: a round failed", self._feed)

    async def round(self) -> None:
        """Read once, and offer what changed."""
        symbols = self.symbols
        try:
            values = await self._read(symbols) if symbols else []
        except CacheUnavailable as error:
            self._announce(str(error.args[0]))
            return
        self._announce("")
        now = {s: v for s, v in zip(symbols, values, strict=True) if v is not None}
        changed = {s: v for s, v in now.items() if self._last.get(s) != v}
        self._last = now
        for interest, clients in list(self._listeners.items()):
            self._offer(interest, clients, changed)

    def _offer(self, interest: Interest, clients: set[Client], changed: dict[str, str]) -> None:
        mine = {s: v for s, v in changed.items() if s in interest}
        text = frame(self._feed, mine) if mine else ""
        for client in clients:
            if client.fresh:
                news = mine | {s: self._last[s] for s in client.fresh & self._last.keys()}
                client.fresh.clear()
                if news:
                    client.outbox.offer(news, frame(self._feed, news))
            elif mine:
                client.outbox.offer(mine, text)

    def _announce(self, trouble: str) -> None:
        if bool(trouble) == bool(self.trouble):
            return
        self.trouble = trouble
        for client in set[Client]().union(*self._listeners.values()):
            with contextlib.suppress(Full):  # its conversation ends by itself
                client.outbox.say(status(trouble))


def status(trouble: str) -> dict[str, object]:
    """Return the message that says whether values can come."""
    return {"type": "status", "redis": "away" if trouble else "ok", "why": trouble}

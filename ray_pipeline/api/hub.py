"""The push of one feed: one MGET per interval, however many clients subscribe."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence

from ray_pipeline.api.client_queue import ClientQueue, QueueFull, frame
from ray_pipeline.errors import CacheUnavailable

log = logging.getLogger(__name__)

Read = Callable[[Sequence[str]], Awaitable[list[str | None]]]
Interest = frozenset[str]


class Client:
    """
    A client of the hub.

    Attributes:
        queue: The messages that wait for it.
        interest: The symbols that it subscribed.
        fresh: Symbols that it subscribed since the last round; it has no value of them yet.
    """

    def __init__(self, feed: str) -> None:
        self.queue = ClientQueue(feed)
        self.interest: Interest = frozenset()
        self.fresh: set[str] = set()


class Hub:
    """
    Polls the subscribed symbols and offers each client the values that changed.

    Each round reads the union of all subscriptions once and compares it with the round before.
    Clients are grouped by equal subscriptions, because most clients of a page subscribe the same
    symbols: a group needs one selection and one encoded message. A client that has new symbols
    gets their current values as well, in a message of its own.
    """

    def __init__(self, feed: str, read: Read, *, interval_s: float) -> None:
        self._feed = feed
        self._read = read
        self._interval_s = interval_s
        self._clients: dict[Interest, set[Client]] = {}
        self._last: dict[str, str] = {}
        self.trouble = ""  # why values cannot come; empty while they can

    def subscribe(self, client: Client, symbols: Collection[str]) -> None:
        """Replace a client's subscriptions; the next round sends the values of new symbols."""
        interest = frozenset(symbols)
        # New symbols need their current value even if it does not change. A symbol that was added
        # and removed before the next round needs nothing.
        client.fresh = (client.fresh & interest) | (interest - client.interest)
        client.queue.forget(set(client.interest - interest))
        self.remove(client)
        client.interest = interest
        if interest:
            self._clients.setdefault(interest, set()).add(client)

    def remove(self, client: Client) -> None:
        """Remove a client."""
        group = self._clients.get(client.interest)
        if group is not None:
            group.discard(client)
            if not group:
                del self._clients[client.interest]
        client.interest = frozenset()

    @property
    def symbols(self) -> list[str]:
        """The symbols of all clients, in order."""
        return sorted(frozenset().union(*self._clients))

    async def run(self) -> None:
        """Do one round per interval until cancelled; wait out an outage of Redis."""
        next_s = time.monotonic()
        while True:
            # From the planned time, so that the interval does not grow by the time of a round. A
            # late round starts at once, and rounds that were missed are not made up for.
            next_s = max(next_s + self._interval_s, time.monotonic())
            await asyncio.sleep(next_s - time.monotonic())
            try:
                await self.round()
            except Exception:
                # The push must survive an unforeseen error: the next round may succeed.
                log.exception("push of %s: a round failed", self._feed)

    async def round(self) -> None:
        """Read once, and offer the changed values."""
        symbols = self.symbols
        try:
            values = await self._read(symbols) if symbols else []
        except CacheUnavailable as error:
            self._announce(str(error.args[0]))
            return
        self._announce("")
        now = {s: v for s, v in zip(symbols, values, strict=True) if v is not None}
        changed = {s: v for s, v in now.items() if self._last.get(s) != v}
        # Replaced, not merged: values of symbols without a subscription must not pile up.
        self._last = now
        for interest, clients in list(self._clients.items()):
            self._offer(interest, clients, changed)

    def _offer(self, interest: Interest, clients: set[Client], changed: dict[str, str]) -> None:
        shared = {s: v for s, v in changed.items() if s in interest}
        text = frame(self._feed, shared) if shared else ""
        for client in clients:
            if client.fresh:
                # This client needs its own message; later rounds share the one of its group again.
                values = shared | {s: self._last[s] for s in client.fresh & self._last.keys()}
                client.fresh.clear()
                if values:
                    client.queue.offer(values, frame(self._feed, values))
            elif shared:
                client.queue.offer(shared, text)

    def _announce(self, trouble: str) -> None:
        """Tell every client when an outage begins or ends."""
        if bool(trouble) == bool(self.trouble):
            return
        self.trouble = trouble
        for client in set[Client]().union(*self._clients.values()):
            with contextlib.suppress(QueueFull):  # its own session closes it
                client.queue.say(status(trouble))


def status(trouble: str) -> dict[str, object]:
    """Return the message that says whether values can come."""
    return {"type": "status", "redis": "away" if trouble else "ok", "why": trouble}

"""Bring the subscriptions of a connection to the desired ones."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from ray_pipeline.feeds.protocol import AllSymbols, PerSymbol
from ray_pipeline.stream.connection_ports import Clock, Pauses, Socket
from ray_pipeline.stream.dialect import next_request
from ray_pipeline.stream.liveness import Liveness
from ray_pipeline.stream.subscriptions import Subscriptions

REST_EVERY = 20  # subscriptions


class Subscriber:
    """
    Sends the subscriptions that a connection lacks.

    Attributes:
        subscriptions: The desired, requested and confirmed symbols.
        changed: Set after a change of the desired symbols.
    """

    def __init__(
        self,
        subscription: PerSymbol | AllSymbols,
        liveness: Liveness,
        *,
        new_ticket: Callable[[], str],
        pauses: Pauses,
        clock: Clock,
    ) -> None:
        self._subscription = subscription
        self._liveness = liveness
        self._new_ticket = new_ticket
        self._pauses = pauses
        self._clock = clock
        self.subscriptions = Subscriptions()
        self.changed = asyncio.Event()

    def want(self, symbols: Mapping[str, str | None]) -> set[str]:
        """Replace the desired symbols; return those that were removed."""
        removed = set(self.subscriptions.desired) - symbols.keys()
        self.subscriptions.want(symbols)
        self._liveness.watch(symbols, now_s=self._clock.monotonic_s())
        self.changed.set()
        return removed

    def ask_again(self, symbols: Iterable[str]) -> None:
        """Subscribe again to symbols."""
        for symbol in symbols:
            self.subscriptions.ask_again(symbol)
        self.changed.set()

    async def run(self, socket: Socket) -> None:
        """Send requests until the subscriptions are as desired, then wait for a change."""
        sent = 0
        while True:
            request = next_request(
                self._subscription, self.subscriptions, new_ticket=self._new_ticket
            )
            if request is None:
                self.changed.clear()
                await self.changed.wait()
                continue
            await socket.send(request.frame)
            self.subscriptions.asked(added=request.added, dropped=request.dropped)
            for symbol in request.added:
                self._liveness.asked(symbol, now_s=self._clock.monotonic_s())
            if request.added:
                sent += 1
                await asyncio.sleep(self._pause_s(sent))

    def _pause_s(self, sent: int) -> float:
        return self._pauses.rest_s if sent % REST_EVERY == 0 else self._pauses.subscribe_s

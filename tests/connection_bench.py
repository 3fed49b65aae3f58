"""A connection between a fake venue and a fake outbox, in virtual time."""

import asyncio

from ray_pipeline.stream.connection_ports import Clock, Pauses
from ray_pipeline.stream.liveness import ALWAYS_OPEN, MarketHours
from tests.fake_feed import FakeOutbox, FakePacer, FakeVenue, make_collector, make_intake, running

NEVER_OPEN = MarketHours(())
PING = b'{"type":"ping"}'


def symbols(*names: str) -> dict[str, None]:
    """Symbols without a category."""
    return dict.fromkeys(names)


class Bench:
    """A collector with a venue and an outbox of a test's own."""

    def __init__(
        self,
        *,
        hours: MarketHours = ALWAYS_OPEN,
        pauses: Pauses | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.venue, self.outbox, self.pacer = FakeVenue(), FakeOutbox(), FakePacer()
        self.intake = make_intake(self.outbox)
        self.collector = make_collector(
            self.venue, self.intake, pacer=self.pacer, hours=hours, pauses=pauses, clock=clock
        )

    def running(self, *names: str):
        """Collect these symbols for the length of a block."""
        self.collector.want(symbols(*names))
        return running(self.collector.run())

    @property
    def gap_summaries(self) -> list[tuple]:
        """Kind, symbols, start and end of each reported gap."""
        return [(gap.gap_kind, gap.symbols, gap.from_at, gap.to_at) for gap in self.outbox.gaps]


async def trade_every_10_s(bench: Bench, name: str) -> None:
    """Let a trade of a symbol arrive whenever the collector is connected."""
    while True:
        if bench.collector.connected:
            bench.venue.socket.trade(name)
        await asyncio.sleep(10)

"""The kinds of faults, their targets, and which streams they may affect."""

import asyncio
import time
from dataclasses import dataclass, field

from ray_pipeline.feeds.feed import partition_of
from tests.chaos import outside_faults as outside
from tests.chaos import process_faults as process
from tests.chaos import server_faults as server
from tests.chaos.plan import FaultKind, PlannedFault
from tests.chaos.stack import (
    CONSUMERS,
    LINKS,
    PRODUCER_OF,
    PRODUCERS,
    RUNS,
    SCHEDULERS,
    STREAMS,
    VENUES,
    Stack,
    Stream,
    say,
)
from tests.chaos.venue import stream_key
from tests.chaos.verify import FaultWindow

BATCH = (*RUNS, *SCHEDULERS, "limiter")
PARTS = (*PRODUCERS, *CONSUMERS, *BATCH)
PROVIDERS = ("finnhub", "coingecko", "fred", "bithumb")
EVERY = frozenset(STREAMS)
NONE: frozenset[Stream] = frozenset()
BY_KEY = {stream_key(stream): stream for stream in STREAMS}
# What a fault may still cause after its end: a reconnect with its back-off and its subscriptions.
AFTERMATH_S = 15.0

KINDS = (
    FaultKind(process.kill, PARTS, weight=6),
    FaultKind(process.freeze, PARTS, 1, 12, weight=4),
    FaultKind(process.kill_while_cut, tuple(f"producers-{venue}" for venue in VENUES), 1, 6),
    FaultKind(process.zombie_consumer, tuple(CONSUMERS), 2, 6),
    FaultKind(process.clock, PARTS, 2, 12, weight=3),
    FaultKind(process.spool_full, ("producers-kafka",), 8, 14),
    FaultKind(server.postgres_kill, ("postgres",), 0, 3),
    FaultKind(server.postgres_restart, ("postgres",), 0, 1),
    FaultKind(server.postgres_freeze, ("postgres",), 1, 10),
    FaultKind(server.postgres_read_only, ("postgres",), 1, 8),
    FaultKind(server.postgres_disk_full, ("postgres",), 1, 8),
    FaultKind(server.postgres_lacks_column, ("postgres",), 1, 5, weight=1),
    FaultKind(server.postgres_terminate, ("postgres",)),
    FaultKind(server.kafka_kill, ("kafka",), 0, 3),
    FaultKind(server.kafka_freeze, ("kafka",), 1, 12),
    FaultKind(server.kafka_lose_data, ("kafka",), 0, 3, weight=1),
    FaultKind(server.redis_kill, ("redis",), 0, 3),
    FaultKind(server.redis_freeze, ("redis",), 1, 8),
    FaultKind(server.redis_flush, ("redis",)),
    FaultKind(server.redis_old_copy, ("redis",), 2, 10),
    FaultKind(outside.venue_close, tuple(BY_KEY)),
    FaultKind(outside.venue_silence, ("venue",), 2, 14),
    FaultKind(outside.venue_freeze, ("venue",), 2, 14),
    FaultKind(outside.venue_refuse, ("venue",)),
    FaultKind(outside.venue_garbage, ("venue",), weight=1),
    FaultKind(outside.provider_refuses, PROVIDERS, 1, 6),
    FaultKind(outside.provider_breaks, PROVIDERS, 1, 6),
    FaultKind(outside.link_stall, tuple(LINKS), 1, 10, weight=4),
    FaultKind(outside.link_drop, tuple(LINKS), 1, 8, weight=4),
    FaultKind(outside.link_reset, tuple(LINKS), 0.1, 5, weight=4),
    FaultKind(outside.link_delay, tuple(LINKS), 2, 10, weight=3),
)
# These keep records from every stream, or lose some.
AFFECTS_EVERY_STREAM = frozenset({"spool_full", "kafka_lose_data"})


def possible_kinds(stack: Stack) -> list[FaultKind]:
    """Return the kinds of faults that this machine allows."""
    impossible = set()
    if stack.clocks.library is None:
        impossible.add("clock")
    if not stack.spool_mounted:
        impossible.add("spool_full")
    if impossible:
        say(f"left out on this machine: {', '.join(sorted(impossible))}; see docs/reliability.md")
    return [kind for kind in KINDS if kind.name not in impossible]


@dataclass(slots=True)
class Injected:
    """
    A fault that has begun.

    Attributes:
        begun_s, ended_s: Times of `time.time`.
        recovery_s: From its end until the streams that it affected stored again; None if they never
            did.
    """

    planned: PlannedFault
    begun_s: float
    ended_s: float | None = None
    recovery_s: float | None = None

    def window(self, feed: str) -> FaultWindow:
        """Return when it may have kept records from which shards of a feed."""
        ended_s = self.ended_s or time.time()
        shards = frozenset(shard for name, shard in withheld_from(self.planned) if name == feed)
        return FaultWindow(self.begun_s, ended_s + AFTERMATH_S, shards)


@dataclass(slots=True)
class Injector:
    """Carries out a plan on a stack."""

    stack: Stack
    injected: list[Injected] = field(default_factory=list)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    @property
    def active(self) -> list[Injected]:
        """The faults that have begun and not ended."""
        return [fault for fault in self.injected if fault.ended_s is None]

    async def inject(self, planned: PlannedFault) -> Injected:
        """Wait until no other fault is on the target, then begin a fault and end it."""
        async with self._locks.setdefault(planned.target, asyncio.Lock()):
            fault = Injected(planned, time.time())
            self.injected.append(fault)
            say(f"fault {planned}")
            try:
                await planned.kind.run(self.stack, planned.target, planned.lasts_s)
            finally:
                fault.ended_s = time.time()
        return fault


def withheld_from(planned: PlannedFault) -> frozenset[Stream]:
    """Return the streams that a fault may keep from their records."""
    target = planned.target
    if target in PRODUCERS:
        return frozenset(PRODUCERS[target])
    if target in BY_KEY:
        return frozenset({BY_KEY[target]})
    if target == "venue" or planned.kind.name in AFFECTS_EVERY_STREAM:
        return EVERY
    if (venue := target.removeprefix("producers-")) in VENUES:
        streams = frozenset(VENUES[venue])
        # The fault kills the processes of these streams, which may serve others, too.
        shared = planned.kind.name == process.kill_while_cut.__name__
        return streams | _sharing_process(streams) if shared else streams
    return NONE


def _sharing_process(streams: frozenset[Stream]) -> frozenset[Stream]:
    return frozenset(other for stream in streams for other in PRODUCERS[PRODUCER_OF[stream]])


def delayed_by(planned: PlannedFault) -> frozenset[Stream]:
    """Return the streams that must store records again after a fault."""
    target = planned.target
    if withheld := withheld_from(planned):
        return withheld
    if target in CONSUMERS:
        return frozenset(
            (feed, shard)
            for feed, shard in STREAMS
            for partition in CONSUMERS[target].get(feed, ())
            if partition_of(shard, partition_count(feed)) == partition
        )
    if target in (*BATCH, *PROVIDERS) or target.startswith("runs-"):
        return NONE
    return EVERY


def partition_count(feed: str) -> int:
    """Return how many partitions the consumers of a feed read."""
    return sum(len(numbers.get(feed, ())) for numbers in CONSUMERS.values())

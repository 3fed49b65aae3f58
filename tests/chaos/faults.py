"""The kinds of faults, their targets, and which shards they may affect."""

import asyncio
import time
from dataclasses import dataclass, field

from tests.chaos import outside_faults as outside
from tests.chaos import process_faults as process
from tests.chaos import server_faults as server
from tests.chaos.plan import FaultKind, PlannedFault
from tests.chaos.stack import CONSUMERS, LINKS, RUNS, SCHEDULERS, SHARDS, Stack, say
from tests.chaos.verify import FaultWindow

PRODUCERS = tuple(f"producer-{shard}" for shard in SHARDS)
BATCH = (*RUNS, *SCHEDULERS, "limiter")
PARTS = (*PRODUCERS, *CONSUMERS, *BATCH)
PROVIDERS = ("finnhub", "coingecko", "fred", "bithumb")
EVERY = frozenset(SHARDS)
NONE: frozenset[int] = frozenset()
# What a fault may still cause after its end: a reconnect with its back-off and its subscriptions.
AFTERMATH_S = 15.0

KINDS = (
    FaultKind(process.kill, PARTS, weight=6),
    FaultKind(process.freeze, PARTS, 1, 12, weight=4),
    FaultKind(process.kill_while_cut, ("producers-venue",), 1, 6),
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
    FaultKind(outside.venue_close, PRODUCERS),
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
# These keep records from every shard, or lose some.
AFFECTS_EVERY_SHARD = frozenset({"spool_full", "kafka_lose_data"})


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
        recovery_s: From its end until the shards that it affected stored again; None if they never
            did.
    """

    planned: PlannedFault
    begun_s: float
    ended_s: float | None = None
    recovery_s: float | None = None

    def window(self) -> FaultWindow:
        """Return when it may have kept records from which shards."""
        ended_s = self.ended_s or time.time()
        shards = withheld_from(self.planned)
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


def withheld_from(planned: PlannedFault) -> frozenset[int]:
    """Return the shards that a fault may keep from their records."""
    target = planned.target
    if target in PRODUCERS:
        return frozenset({int(target.rpartition("-")[2])})
    if target in {"venue", "producers-venue"} or planned.kind.name in AFFECTS_EVERY_SHARD:
        return EVERY
    return NONE


def delayed_by(planned: PlannedFault) -> frozenset[int]:
    """Return the shards that must store records again after a fault."""
    target = planned.target
    if target in PRODUCERS:
        return withheld_from(planned)
    if target in CONSUMERS:
        partitions = CONSUMERS[target]
        return frozenset(shard for shard in SHARDS if shard % len(SHARDS) in partitions)
    if target in (*BATCH, *PROVIDERS) or target.startswith("runs-"):
        return NONE
    return EVERY

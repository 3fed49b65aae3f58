"""How each fault begins and ends. Every fault undoes itself, also if the run is interrupted."""

import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import psycopg
import redis

from tests.chaos.plan import FaultKind, PlannedFault
from tests.chaos.processes import Child, in_thread
from tests.chaos.servers import copy_files, start_from
from tests.chaos.spool_disk import empty, fill
from tests.chaos.stack import CONSUMERS, LEASE_TTL_S, LINKS, RUNS, SCHEDULERS, SHARDS, Stack, say

PRODUCERS = tuple(f"producer-{shard}" for shard in SHARDS)
BATCH = (*RUNS, *SCHEDULERS, "limiter")
PARTS = (*PRODUCERS, *CONSUMERS, *BATCH)
PROVIDERS = ("finnhub", "coingecko", "fred", "bithumb")
NONE: frozenset[int] = frozenset()
# What a fault may still cause after its end: a reconnect with its back-off and its subscriptions.
AFTERMATH_S = 15.0
# Longer than a run, so that the times that a process wrote tell under which clock it wrote them.
CLOCK_STEP_S = 3_660.0

KINDS = (
    FaultKind("kill", PARTS, weight=6),
    FaultKind("freeze", PARTS, 1, 12, weight=4),
    FaultKind("kill_while_cut", PRODUCERS, 1, 6),
    FaultKind("zombie_consumer", tuple(CONSUMERS), 2, 6),
    FaultKind("postgres_kill", ("postgres",), 0, 3),
    FaultKind("postgres_restart", ("postgres",), 0, 1),
    FaultKind("postgres_freeze", ("postgres",), 1, 10),
    FaultKind("postgres_read_only", ("postgres",), 1, 8),
    FaultKind("postgres_disk_full", ("postgres",), 1, 8),
    FaultKind("postgres_terminate", ("postgres",)),
    FaultKind("kafka_freeze", ("kafka",), 1, 12),
    FaultKind("kafka_kill", ("kafka",), 0, 3),
    FaultKind("kafka_lose_data", ("kafka",), 0, 3, weight=1),
    FaultKind("redis_kill", ("redis",), 0, 3),
    FaultKind("redis_freeze", ("redis",), 1, 8),
    FaultKind("redis_flush", ("redis",)),
    FaultKind("redis_old_copy", ("redis",), 2, 10),
    FaultKind("spool_full", ("producers-kafka",), 8, 14),
    FaultKind("clock", PARTS, 2, 12, weight=3),
    FaultKind("venue_close", PRODUCERS),
    FaultKind("venue_silence", ("venue",), 2, 14),
    FaultKind("venue_freeze", ("venue",), 2, 14),
    FaultKind("venue_refuse", ("venue",)),
    FaultKind("venue_garbage", ("venue",), weight=1),
    FaultKind("provider_refuses", PROVIDERS, 1, 6),
    FaultKind("provider_breaks", PROVIDERS, 1, 6),
    FaultKind("link_stall", tuple(LINKS), 1, 10, weight=4),
    FaultKind("link_drop", tuple(LINKS), 1, 8, weight=4),
    FaultKind("link_reset", tuple(LINKS), 0.1, 5, weight=4),
    FaultKind("link_delay", tuple(LINKS), 2, 10, weight=3),
)


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
    """A fault that has begun."""

    planned: PlannedFault
    begun_s: float  # time.time
    ended_s: float | None = None
    shards: frozenset[int] | None = None  # whose records it keeps away; None: of all
    waits_for: frozenset[int] = frozenset(SHARDS)  # which must flow again
    recovery_s: float | None = None


@dataclass(slots=True)
class Injector:
    """Carries out a plan on a stack."""

    stack: Stack
    injected: list[Injected] = field(default_factory=list)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    _steps: int = 0

    @property
    def active(self) -> list[Injected]:
        """The faults that have begun and not ended."""
        return [fault for fault in self.injected if fault.ended_s is None]

    async def inject(self, planned: PlannedFault) -> Injected:
        """Wait until no other fault is on the target, then begin a fault and end it."""
        async with self._lock(planned.target):
            fault = Injected(planned, time.time())
            fault.shards, fault.waits_for = _shards_of(planned)
            self.injected.append(fault)
            say(f"fault {planned}")
            method: Callable[[str, float], Awaitable[None]] = getattr(self, f"do_{planned.kind}")
            try:
                await method(planned.target, planned.lasts_s)
            finally:
                fault.ended_s = time.time()
        return fault

    def _lock(self, target: str) -> asyncio.Lock:
        return self._locks.setdefault(target, asyncio.Lock())

    # Processes

    async def do_kill(self, target: str, _: float) -> None:
        """kill -9; the process is restarted."""
        self.stack.children[target].kill()

    async def do_freeze(self, target: str, lasts_s: float) -> None:
        """SIGSTOP, SIGCONT."""
        child = self.stack.children[target]
        child.freeze()
        try:
            await asyncio.sleep(lasts_s)
        finally:
            child.thaw()

    async def do_kill_while_cut(self, target: str, lasts_s: float) -> None:
        """Nothing arrives from the venue, and before anyone notices, the producer is killed."""
        async with self._lock("producers-venue"):
            link = self.stack.links["producers-venue"]
            link.set("drop")
            try:
                await asyncio.sleep(lasts_s)
                self.stack.children[target].kill()
            finally:
                link.set("pass")

    async def do_zombie_consumer(self, target: str, lasts_s: float) -> None:
        """Freeze a consumer until another has its partitions, then let it wake up."""
        frozen = self.stack.children[target]
        second = Child(f"{target}-second", frozen.arguments, frozen.values, frozen.directory)
        self.stack.children[second.name] = second
        frozen.freeze()
        second.start()
        try:
            await asyncio.sleep(LEASE_TTL_S + lasts_s)
            frozen.thaw()
            await asyncio.sleep(lasts_s)
        finally:
            frozen.thaw()
            await second.stop_restarting()
            second.kill()
            del self.stack.children[second.name]

    async def do_clock(self, target: str, lasts_s: float) -> None:
        """The wall clock of a process is wrong by more than an hour, then right again."""
        clock = self.stack.clocks.by_name[target]
        self._steps += 1
        clock.set(CLOCK_STEP_S if self._steps % 2 else -CLOCK_STEP_S)
        try:
            await asyncio.sleep(lasts_s)
        finally:
            clock.set(0.0)

    async def do_spool_full(self, target: str, lasts_s: float) -> None:
        """The broker cannot be reached, and the disk of the spool is full."""
        fill(self.stack.spool)
        try:
            await self._link(target, "stall", lasts_s)
        finally:
            empty(self.stack.spool)

    # Postgres

    async def do_postgres_kill(self, _: str, lasts_s: float) -> None:
        """kill -9 of the server, and a restart."""
        async with self._restarted(self.stack.postgres.kill, self.stack.postgres.start):
            await asyncio.sleep(lasts_s)

    async def do_postgres_restart(self, _: str, lasts_s: float) -> None:
        """A fast shutdown, and a restart."""
        async with self._restarted(self.stack.postgres.stop, self.stack.postgres.start):
            await asyncio.sleep(lasts_s)

    async def do_postgres_freeze(self, _: str, lasts_s: float) -> None:
        """SIGSTOP of the server and its backends."""
        await self._frozen(self.stack.postgres.pause, self.stack.postgres.resume, lasts_s)

    async def do_postgres_read_only(self, _: str, lasts_s: float) -> None:
        """Every transaction is read-only, as on a replica after a failover."""
        await self._configured("default_transaction_read_only", "on", lasts_s)

    async def do_postgres_disk_full(self, _: str, lasts_s: float) -> None:
        """Every write of history fails with 53100."""
        await self._execute(
            "CREATE OR REPLACE FUNCTION chaos_disk_full() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' "
            "USING ERRCODE = '53100'; END $$",
            "CREATE OR REPLACE TRIGGER chaos_disk_full BEFORE INSERT ON sp500_websocket_trades "
            "FOR EACH ROW EXECUTE FUNCTION chaos_disk_full()",
        )
        try:
            await asyncio.sleep(lasts_s)
        finally:
            await self._execute("DROP TRIGGER IF EXISTS chaos_disk_full ON sp500_websocket_trades")

    async def do_postgres_terminate(self, *_: object) -> None:
        """Terminate every connection."""
        await self._execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name LIKE 'ray-pipeline%'"
        )

    async def _configured(self, name: str, value: str, lasts_s: float) -> None:
        await self._execute(f"ALTER SYSTEM SET {name} = {value}", "SELECT pg_reload_conf()")
        try:
            await asyncio.sleep(lasts_s)
        finally:
            await self._execute(
                "SET default_transaction_read_only = off",
                f"ALTER SYSTEM RESET {name}",
                "SELECT pg_reload_conf()",
            )

    async def _execute(self, *statements: str) -> None:
        async with await psycopg.AsyncConnection.connect(
            self.stack.postgres.dsn, autocommit=True
        ) as connection:
            for statement in statements:
                await connection.execute(statement)

    # Kafka and Redis

    async def do_kafka_freeze(self, _: str, lasts_s: float) -> None:
        """SIGSTOP of the broker."""
        await self._frozen(self.stack.kafka.pause, self.stack.kafka.resume, lasts_s)

    async def do_kafka_kill(self, _: str, lasts_s: float) -> None:
        """kill -9 of the broker, and a restart."""
        async with self._restarted(self.stack.kafka.kill, self.stack.kafka.start):
            await asyncio.sleep(lasts_s)

    async def do_kafka_lose_data(self, _: str, lasts_s: float) -> None:
        """The broker restarts without its topics and records."""
        kafka = self.stack.kafka

        def start_empty() -> None:
            shutil.rmtree(kafka.directory / "data")
            kafka.start()

        async with self._restarted(kafka.kill, start_empty):
            await asyncio.sleep(lasts_s)
        await self.stack.make_topics()

    async def do_redis_kill(self, _: str, lasts_s: float) -> None:
        """kill -9, and a restart."""
        async with self._restarted(self.stack.redis.kill, self.stack.redis.start):
            await asyncio.sleep(lasts_s)

    async def do_redis_freeze(self, _: str, lasts_s: float) -> None:
        """SIGSTOP of Redis."""
        await self._frozen(self.stack.redis.pause, self.stack.redis.resume, lasts_s)

    async def do_redis_flush(self, *_: object) -> None:
        """FLUSHALL."""
        await asyncio.to_thread(self._flush)

    async def do_redis_old_copy(self, _: str, lasts_s: float) -> None:
        """Redis is restored from a copy of its files that is some seconds old."""
        redis_server = self.stack.redis
        copy = await asyncio.to_thread(copy_files, redis_server)
        await asyncio.sleep(lasts_s)
        await in_thread(redis_server.kill)
        await in_thread(lambda: start_from(redis_server, copy))

    def _flush(self) -> None:
        with redis.Redis.from_url(self.stack.redis.url) as client:
            client.flushall()

    @contextlib.asynccontextmanager
    async def _restarted(
        self, end: Callable[[], None], start: Callable[[], None]
    ) -> AsyncIterator[None]:
        await in_thread(end)
        try:
            yield
        finally:
            await in_thread(start)

    async def _frozen(
        self, freeze: Callable[[], None], thaw: Callable[[], None], lasts_s: float
    ) -> None:
        freeze()
        try:
            await asyncio.sleep(lasts_s)
        finally:
            thaw()

    # The venue

    async def do_venue_close(self, target: str, _: float) -> None:
        """Close the connection of one shard, with a code or without a handshake."""
        shard = int(target.rpartition("-")[2])
        code = (1000, 1006, 1011, 1012)[shard % 4]
        await self.stack.venue.control("terminate", shard=shard, code=code)

    async def do_venue_silence(self, _: str, lasts_s: float) -> None:
        """Send no data; sockets stay open and pings continue."""
        await self.stack.venue.control("silence", on=True, pings=True)
        try:
            await asyncio.sleep(lasts_s)
        finally:
            await self.stack.venue.control("silence", on=False)

    async def do_venue_freeze(self, _: str, lasts_s: float) -> None:
        """SIGSTOP: sockets stay open, and neither data nor pings arrive."""
        process = self.stack.venue.process
        process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(lasts_s)
        finally:
            process.send_signal(signal.SIGCONT)

    async def do_venue_refuse(self, *_: object) -> None:
        """Cut all connections and answer the next six with 429."""
        await self.stack.venue.control("refuse", status=429, retry_after_s=1.0, count=6)
        await self.stack.venue.control("close", code=1006)

    async def do_venue_garbage(self, *_: object) -> None:
        """Send frames that no client can use."""
        for kind in ("malformed", "truncated", "wrong_type", "unknown_type", "future"):
            await self.stack.venue.control("frame", kind=kind)

    # Providers

    async def do_provider_refuses(self, target: str, lasts_s: float) -> None:
        """429 with Retry-After."""
        await self._provider(target, "refuse", lasts_s, seconds=2.0)

    async def do_provider_breaks(self, target: str, lasts_s: float) -> None:
        """Half an answer, then the end of the connection."""
        await self._provider(target, "truncated", lasts_s)

    async def _provider(self, target: str, kind: str, lasts_s: float, **arguments) -> None:
        await self.stack.providers.fault(target, kind, **arguments)
        try:
            await asyncio.sleep(lasts_s)
        finally:
            await self.stack.providers.fault(target, "clear")

    # Links

    async def do_link_stall(self, target: str, lasts_s: float) -> None:
        """Nothing passes; connections stay open."""
        await self._link(target, "stall", lasts_s)

    async def do_link_drop(self, target: str, lasts_s: float) -> None:
        """Bytes are swallowed; then the connections are cut."""
        await self._link(target, "drop", lasts_s)

    async def do_link_reset(self, target: str, lasts_s: float) -> None:
        """Connections are cut, new ones too."""
        await self._link(target, "reset", lasts_s)

    async def do_link_delay(self, target: str, lasts_s: float) -> None:
        """Every byte arrives a third of a second later."""
        await self._link(target, "delay", lasts_s, delay_s=0.3)

    async def _link(self, target: str, mode, lasts_s: float, *, delay_s: float = 0.0) -> None:
        link = self.stack.links[target]
        link.set(mode, delay_s=delay_s)
        try:
            await asyncio.sleep(lasts_s)
        finally:
            link.set("pass")


def _shards_of(planned: PlannedFault) -> tuple[frozenset[int] | None, frozenset[int]]:
    """Return the shards whose records a fault keeps away, and those that must flow after it."""
    target, every = planned.target, frozenset(SHARDS)
    if planned.kind == "kill_while_cut":
        return None, every
    if target in PRODUCERS:
        shard = frozenset({int(target.rpartition("-")[2])})
        return shard, shard
    if target in CONSUMERS:
        partitions = CONSUMERS[target]
        return NONE, frozenset(shard for shard in SHARDS if shard % len(SHARDS) in partitions)
    if target in {"venue", "producers-venue"} or planned.kind in {"spool_full", "kafka_lose_data"}:
        return None, every
    if target in BATCH or target in PROVIDERS or target.startswith("runs-"):
        return NONE, NONE
    return NONE, every

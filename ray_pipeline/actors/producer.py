"""A producer as an actor: one connection to a provider, under a lease, into Kafka."""

import asyncio
import contextlib
import logging
import os
import socket
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random

from ray_pipeline.actors.ray_metrics import report
from ray_pipeline.catalog import feed as feed_spec
from ray_pipeline.errors import BrokerUnavailable, DatabaseUnavailable
from ray_pipeline.feeds import bithumb, finnhub
from ray_pipeline.feeds.feed import FeedSpec
from ray_pipeline.feeds.records import (
    BITHUMB_SOURCE,
    FINNHUB_SP500_SOURCE,
    FINNHUB_TOP_GAINERS_SOURCE,
)
from ray_pipeline.lease import Ownership
from ray_pipeline.observe.metrics import Sample, producer_metrics
from ray_pipeline.retry import Backoff
from ray_pipeline.settings import Settings, StreamSettings
from ray_pipeline.storage.bithumb_rest import BithumbRest
from ray_pipeline.storage.calendars import market_hours
from ray_pipeline.storage.kafka.broker import KafkaBroker
from ray_pipeline.storage.postgres.heartbeats import Heartbeats
from ray_pipeline.storage.postgres.leases import Leases
from ray_pipeline.storage.postgres.pacing import Pacer
from ray_pipeline.storage.postgres.symbols import (
    TopMovers,
    bithumb_markets,
    newest_tickers,
    shard_members,
)
from ray_pipeline.storage.spool import Spool, open_spool
from ray_pipeline.storage.websocket import WebSocket, open_websocket
from ray_pipeline.stream.connection import Clock, Collector, Connect, Pauses
from ray_pipeline.stream.dialect import BithumbDialect, Dialect, FinnhubDialect
from ray_pipeline.stream.gaps import GapBook
from ray_pipeline.stream.ingest import Desk, TickerIntake, TradeIntake
from ray_pipeline.stream.liveness import ALWAYS_OPEN, Liveness, MarketHours
from ray_pipeline.stream.outbox import Publisher
from ray_pipeline.stream.polling import Poller
from ray_pipeline.stream.shard_producer import (
    Courier,
    Identity,
    Line,
    Parts,
    Producer,
    SymbolSource,
)

log = logging.getLogger(__name__)

RETRY_S = 1.0
CLOCK = Clock()
SOURCES = {
    "sp500": FINNHUB_SP500_SOURCE,
    "top_gainers": FINNHUB_TOP_GAINERS_SOURCE,
    "bithumb": BITHUMB_SOURCE,
}


def finnhub_key(settings: Settings, feed: str, shard: int) -> str | None:
    """
    Return the key of a connection, None where there is none.

    The first keys belong to the configured shards in order, the next one to the top gainers, and
    those behind it to shards past the configured ones.
    """
    keys = settings.stream_keys("finnhub")
    base = settings.streams.sp500_shards
    index = base if feed == "top_gainers" else shard - 1 if shard <= base else shard
    return keys[index] if index < len(keys) else None


def sp500_shards(settings: Settings) -> int:
    """Return how many S&P 500 shards there are: the configured ones, and one a spare key."""
    base = settings.streams.sp500_shards
    return base + max(0, len(settings.stream_keys("finnhub")) - base - 1)


class _Workshop:
    """Makes the parts of one producer."""

    def __init__(
        self,
        settings: Settings,
        spec: FeedSpec,
        shard: int,
        *,
        hours: MarketHours,
        newest_ms: Mapping[str, int],
    ) -> None:
        self._settings = settings
        self._spec = spec
        self._shard = shard
        self._hours = hours
        self._newest_ms = dict(newest_ms)
        self._streams: StreamSettings = settings.streams
        self._dsn = settings.postgres_dsn()
        self._random = Random()
        self._broker = KafkaBroker(settings)
        self._topic = settings.kafka.topic_prefix + spec.topic
        self._leases = Leases(self._dsn)
        self._beats = Heartbeats(self._dsn)
        self._spool: Spool | None = None
        self._rest = BithumbRest(settings.endpoint("bithumb").rest_url or bithumb.REST_URL)
        self._key = "" if spec.name == "bithumb" else finnhub_key(settings, spec.name, shard)
        self._future_ms = int(self._streams.future_tolerance_s * 1000)

    def producer(self) -> Producer:
        """Return the producer."""
        holder = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:6]}"
        feed = self._spec.name
        ownership = Ownership(
            self._leases,
            f"producer/{feed}/{self._shard}",
            holder=holder,
            generation=self._settings.ray.generation,
            ttl_s=self._streams.lease_ttl_s,
            random=self._random,
            obstacle=self._obstacle,
        )
        return Producer(
            Identity(feed, self._shard, holder),
            Parts(
                ownership=ownership,
                beats=self._beats,
                symbols=self._symbols(),
                outbox=self._outbox,
                line=None if self._key is None else self._line,
                source=SOURCES[feed],
                clock=CLOCK,
                backoff=self._backoff(),
                drain_s=self._streams.drain_s,
                close=self._close,
                let_go=self._close_spool,
                missing="" if self._key is not None else self._missing(),
            ),
        )

    async def _obstacle(self) -> str:
        """A release without a key, or that cannot reach the broker, must not stop one that can."""
        if self._key is None:
            return self._missing()
        try:
            await self._broker.partitions(self._topic)
        except BrokerUnavailable as error:
            return str(error)
        return ""

    async def _close(self) -> None:
        await self._broker.close()
        await self._leases.close()
        await self._beats.close()

    def _close_spool(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _missing(self) -> str:
        found = len(self._settings.stream_keys("finnhub"))
        return (
            f"no key: PIPELINE_API_KEYS has {found} for finnhub, one a connection; "
            "add another to collect these symbols"
        )

    def _backoff(self) -> Backoff:
        return Backoff(
            base_s=self._streams.backoff_base_s,
            cap_s=self._streams.backoff_cap_s,
            random=self._random,
        )

    def _symbols(self) -> SymbolSource:
        match self._spec.name:
            case "sp500":
                return shard_members(
                    self._dsn,
                    shard=self._shard,
                    shards=sp500_shards(self._settings),
                    capacity=self._streams.symbols_per_connection,
                )
            case "top_gainers":
                return TopMovers(self._dsn)
            case "bithumb":
                return bithumb_markets(self._dsn, self._rest)

    def _outbox(self, epoch: int, gate: Callable[[], bool]) -> Courier:
        # What an earlier epoch left in it goes first.
        if self._spool is None:
            root = self._streams.spool_dir or self._settings.home_dir() / "spool"
            self._spool = open_spool(
                Path(root),
                self._spec.name,
                shard=self._shard,
                limit_bytes=self._streams.spool_limit_bytes,
            )
        return Publisher(
            self._broker,
            self._spool,
            topic=self._topic,
            shard=self._shard,
            epoch=epoch,
            may_send=gate,
            clock=CLOCK,
        )

    def _line(self, desk: Desk) -> Line:
        if self._spec.name != "bithumb":
            trades = TradeIntake(desk, self._future_ms)
            return Line(self._collector(FinnhubDialect(trades), desk, self._connect_finnhub))
        tickers = TickerIntake(desk, self._future_ms, self._newest_ms)
        dialect = BithumbDialect(tickers, lambda: uuid.uuid4().hex)
        collector = self._collector(dialect, desk, self._connect_bithumb)
        poll_s = self._streams.bithumb_poll_s
        return Line(collector, Poller(self._rest, tickers, collector, poll_s, CLOCK))

    def _collector(self, dialect: Dialect, desk: Desk, connect: Connect) -> Collector:
        streams = self._streams
        provider = "bithumb" if self._spec.name == "bithumb" else "finnhub"
        return Collector(
            dialect,
            desk,
            connect=connect,
            pacer=Pacer(self._dsn, f"connect/{provider}", pause_s=streams.connect_pause_s),
            pauses=Pauses(streams.subscribe_pause_s, streams.subscribe_rest_s, streams.liveness_s),
            liveness=Liveness(liveness_s=streams.liveness_s, hours=self._hours),
            backoff=self._backoff(),
            gaps=GapBook(desk.gap),
            clock=CLOCK,
        )

    def _connect_finnhub(self) -> AbstractAsyncContextManager[WebSocket]:
        key = self._key or ""
        base = self._settings.endpoint("finnhub").ws_url or finnhub.WS_URL
        return self._open(finnhub.url(base, key), key)

    def _connect_bithumb(self) -> AbstractAsyncContextManager[WebSocket]:
        return self._open(self._settings.endpoint("bithumb").ws_url or bithumb.WS_URL, "")

    def _open(self, url: str, key: str) -> AbstractAsyncContextManager[WebSocket]:
        return open_websocket(url, frame_limit_bytes=self._streams.frame_limit_bytes, key=key)


async def build_producer(settings: Settings, feed: str, shard: int) -> Producer:
    """Return the producer of a shard; waits while Postgres, which it asks first, is away."""
    spec = feed_spec(feed)
    always = settings.streams.market_hours == "always"
    hours = ALWAYS_OPEN if always else await market_hours(spec.venue)
    newest_ms = await _newest_ms(settings) if feed == "bithumb" else {}
    return _Workshop(settings, spec, shard, hours=hours, newest_ms=newest_ms).producer()


async def _newest_ms(settings: Settings) -> dict[str, int]:
    while True:
        try:
            return await newest_tickers(settings.postgres_dsn())
        except DatabaseUnavailable as error:
            log.warning("%s", error)
            await asyncio.sleep(RETRY_S)


class ProducerActor:
    """Gives a producer a process and a mailbox. It starts collecting when it is made."""

    def __init__(self, settings: Settings, feed: str, shard: int) -> None:
        self._name = f"{feed}/{shard:02d}"
        self._producer: Producer | None = None
        self._stopping = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(settings, feed, shard))
        self._task.add_done_callback(leave)
        generation = settings.ray.generation
        self._reporting = asyncio.create_task(report(self._metrics, generation=generation))

    def __repr__(self) -> str:
        return f"Producer({self._name})"

    async def _run(self, settings: Settings, feed: str, shard: int) -> None:
        self._producer = await build_producer(settings, feed, shard)
        if not self._stopping.is_set():
            await self._producer.run()

    async def status(self) -> dict[str, object]:
        """Return how it does."""
        if self._producer is None:
            return {"state": "starting", "pid": os.getpid()}
        return self._producer.status() | {"pid": os.getpid()}

    def _metrics(self) -> Iterable[Sample]:
        return producer_metrics(self._producer.status()) if self._producer else ()

    async def stop(self, drain_s: float) -> bool:
        """Stop reading, bring what is in hand to the broker, release the lease."""
        self._stopping.set()
        if self._producer is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._producer.stop(drain_s=drain_s), drain_s + RETRY_S)
        return self._task.done()

    async def pause(self) -> None:
        """Disconnect until `resume`; the time becomes a gap."""
        if self._producer is not None:
            self._producer.pause()

    async def resume(self) -> None:
        """Go on after `pause`."""
        if self._producer is not None:
            self._producer.resume()

    async def resubscribe(self, symbols: Sequence[str] | None = None) -> list[str]:
        """Ask the provider again for these symbols, or for all; return those that are wanted."""
        return self._producer.resubscribe(symbols) if self._producer is not None else []

    async def set_symbols(self, symbols: Mapping[str, str | None]) -> None:
        """Collect these symbols in place of the usual ones; an empty mapping gives those back."""
        if self._producer is not None:
            self._producer.set_symbols(symbols)


def leave(task: "asyncio.Task[None]") -> None:
    """End the process when the work ended by an error, so that Ray starts it anew."""
    if task.cancelled() or task.exception() is None:
        return
    log.error("the actor failed", exc_info=task.exception())
    os._exit(1)

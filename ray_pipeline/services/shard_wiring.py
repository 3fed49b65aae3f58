"""Connect the parts of a producer: one shard of one feed."""

import os
import socket
import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random

from ray_pipeline.errors import BrokerUnavailable
from ray_pipeline.feeds.feed import Feed, partition_of
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.lease import Ownership
from ray_pipeline.retry import Backoff
from ray_pipeline.settings import Settings
from ray_pipeline.storage.calendars import market_hours
from ray_pipeline.storage.kafka.broker import KafkaBroker
from ray_pipeline.storage.postgres.heartbeats import Heartbeats
from ray_pipeline.storage.postgres.leases import Leases
from ray_pipeline.storage.postgres.pacing import Pacer
from ray_pipeline.storage.postgres.shared_ledger import SharedLedger
from ray_pipeline.storage.postgres.symbols import symbols_of_shard
from ray_pipeline.storage.spool import Spool, open_spool
from ray_pipeline.storage.venue_permits import VenuePermits
from ray_pipeline.storage.venue_rest import VenueRest
from ray_pipeline.storage.websocket import WebSocket, open_websocket
from ray_pipeline.stream.connection_ports import Clock, Pauses
from ray_pipeline.stream.feed_shards import key_of, no_key, shards_of
from ray_pipeline.stream.gaps import GapBook
from ray_pipeline.stream.ingest import Intake, NoticeWriter
from ray_pipeline.stream.liveness import ALWAYS_OPEN, Liveness, MarketHours
from ray_pipeline.stream.outbox import Publisher
from ray_pipeline.stream.polling import Poller
from ray_pipeline.stream.producer_ports import Identity, Line, Parts, RunnableOutbox
from ray_pipeline.stream.shard_producer import Producer
from ray_pipeline.stream.venue_connection import Collector

CLOCK = Clock()
LONGEST_POLL_PAUSE_S = 60.0  # after failed rounds; the venue recovers sooner if it is left alone


async def build_producer(settings: Settings, feed_name: str, shard: int) -> Producer:
    """
    Return the producer of a shard.

    Raises:
        PipelineError: If the feed has no such shard.
    """
    feed = feed_named(feed_name)
    always = settings.streams.market_hours == "always"
    hours = ALWAYS_OPEN if always else await market_hours(feed.calendar)
    return _Wiring(settings, feed, shard, hours=hours).producer()


class _Wiring:
    """Makes the parts of one producer."""

    def __init__(self, settings: Settings, feed: Feed, shard: int, *, hours: MarketHours) -> None:
        self._settings = settings
        self._streams = settings.streams
        self._options = settings.feeds[feed.name]
        self._endpoint = settings.endpoint(feed.protocol.venue)
        self._feed = feed
        self._shard = shard
        self._hours = hours
        self._dsn = settings.postgres_dsn()
        self._random = Random()
        self._broker = KafkaBroker(settings)
        self._topic = settings.kafka.topic_prefix + feed.topic
        # Of the partitions that the settings name, not of those that the broker has: a topic that
        # grows while producers run must not move a shard.
        self._partition = partition_of(shard, self._options.partitions)
        self._leases = Leases(self._dsn)
        self._heartbeats = Heartbeats(self._dsn)
        self._spool: Spool | None = None
        self._ledger = SharedLedger(
            self._dsn, settings.key_fingerprints(), speed=settings.jobs.speed
        )
        venue = feed.protocol.venue
        permits = VenuePermits(self._ledger, venue, caller=f"stream {feed.name}")
        self._rest = VenueRest(feed.protocol, self._endpoint.rest_url, permits)
        self._key = key_of(settings, feed, shard)

    def producer(self) -> Producer:
        """Return the producer."""
        feed = self._feed.name
        holder = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:6]}"
        ownership = Ownership(
            self._leases,
            f"producer/{feed}/{self._shard}",
            holder=holder,
            generation=self._settings.ray.generation,
            ttl_s=self._streams.lease_ttl_s,
            random=self._random,
            obstacle=self._unhealthy,
        )
        return Producer(
            Identity(feed, self._shard, holder),
            Parts(
                ownership=ownership,
                beats=self._heartbeats,
                symbols=symbols_of_shard(
                    self._dsn,
                    self._feed,
                    self._rest,
                    shard=self._shard,
                    shards=len(shards_of(self._settings, self._feed)),
                    capacity=self._options.symbols_per_connection,
                ),
                outbox=self._outbox,
                line=None if self._key is None else self._line,
                clock=CLOCK,
                backoff=self._backoff(),
                drain_s=self._streams.drain_s,
                close=self._close,
                let_go=self._close_spool,
                missing=self._missing(),
            ),
        )

    async def _unhealthy(self) -> str:
        """
        Return why this instance must not request a handover; empty if it may.

        A generation without a broker must not stop a generation that has one.
        """
        try:
            await self._broker.check_partition(self._topic, self._partition)
        except BrokerUnavailable as error:
            return str(error)
        return ""

    def _missing(self) -> str:
        return no_key(self._settings, self._feed) if self._key is None else ""

    async def _close(self) -> None:
        await self._broker.close()
        await self._leases.close()
        await self._heartbeats.close()
        await self._ledger.close()

    def _close_spool(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _backoff(self) -> Backoff:
        return Backoff(
            base_s=self._streams.backoff_base_s,
            cap_s=self._streams.backoff_cap_s,
            random=self._random,
        )

    def _outbox(self, epoch: int, gate: Callable[[], bool]) -> RunnableOutbox:
        # The records that an earlier epoch left in the spool are published first.
        if self._spool is None:
            root = self._streams.spool_dir or self._settings.home_dir() / "spool"
            self._spool = open_spool(
                Path(root),
                self._feed.name,
                shard=self._shard,
                limit_bytes=self._streams.spool_limit_bytes,
            )
        return Publisher(
            self._broker,
            self._spool,
            topic=self._topic,
            partition=self._partition,
            shard=self._shard,
            epoch=epoch,
            may_send=gate,
            clock=CLOCK,
        )

    def _line(self, notices: NoticeWriter) -> Line:
        intake = Intake(
            notices,
            self._feed,
            future_tolerance_ms=int(self._streams.future_tolerance_s * 1000),
        )
        collector = self._collector(intake)
        if self._feed.protocol.poll is None:
            return Line(collector)
        poller = Poller(
            self._rest,
            intake,
            collector,
            pause_s=self._options.poll_s,
            clock=CLOCK,
            backoff=Backoff(
                base_s=self._options.poll_s, cap_s=LONGEST_POLL_PAUSE_S, random=self._random
            ),
        )
        return Line(collector, poller)

    def _collector(self, intake: Intake) -> Collector:
        streams = self._streams
        return Collector(
            intake,
            self._feed.protocol.subscription,
            connect=self._connect,
            new_ticket=lambda: uuid.uuid4().hex,
            pacer=Pacer(
                self._dsn,
                f"connect/{self._feed.protocol.venue}",
                pause_s=streams.connect_pause_s,
            ),
            pauses=Pauses(streams.subscribe_pause_s, streams.subscribe_rest_s, streams.liveness_s),
            liveness=Liveness(liveness_s=streams.liveness_s, hours=self._hours),
            backoff=self._backoff(),
            gaps=GapBook(intake.notices.gap),
            clock=CLOCK,
        )

    def _connect(self) -> AbstractAsyncContextManager[WebSocket]:
        protocol = self._feed.protocol
        key = self._key or ""
        return open_websocket(
            protocol.url(self._endpoint.ws_url or protocol.ws_url, key),
            venue=protocol.venue,
            frame_limit_bytes=self._streams.frame_limit_bytes,
            key=key,
        )

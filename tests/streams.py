"""Streams for tests: topics with numbered trades, a consumer in or out of the process."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
from aiokafka import AIOKafkaProducer

from ray_pipeline import settings
from ray_pipeline.feeds import codec
from ray_pipeline.feeds.feed import partition_of
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.feeds.records import Trade
from ray_pipeline.services.partition_consumer_wiring import build_consumer
from ray_pipeline.settings import Settings
from ray_pipeline.storage.kafka.topics import ensure_topics
from tests.support import eventually

LEASE_TTL_S = 2.0
STOP_S = 120.0


def make_settings(
    dsn: str, redis_url: str, bootstrap: str, prefix: str, *, shards: int = 10, **streams
) -> Settings:
    """Settings for a pipeline of a test's own."""
    return settings.load(
        postgres={"dsn": dsn},
        redis={"url": redis_url},
        kafka={"bootstrap_servers": bootstrap, "topic_prefix": prefix},
        streams={"lease_ttl_s": LEASE_TTL_S, "drain_s": 10.0, **streams},
        feeds={"sp500": {"shards": shards}},
    )


def trades(
    count: int, *, epoch: int = 1, shards: int = 3, start: int = 1, **changes
) -> list[Trade]:
    """Numbered trades of several shards, round robin, each with prices of its own."""
    now = datetime.now(UTC)
    now_ms = int(time.time() * 1000)
    made = []
    for index in range(count):
        shard, seq = index % shards + 1, start + index // shards
        fields = {
            "symbol": f"S{shard}{index % 7}",
            "price": Decimal(10_000 + index) / 100,
            "volume": Decimal(index % 50 + 1),
            "timestamp_ms": now_ms - 5_000 + index,
            "epoch": epoch,
            "seq": seq,
            "pod_index": shard,
            "trade_conditions": ["1", "12"],
            "pod_name": f"sp500-{shard:02d}",
            "created_at": now,
        }
        made.append(Trade(**{**fields, **changes}))
    return made


@contextlib.asynccontextmanager
async def producing(configured: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """A plain producer."""
    producer = AIOKafkaProducer(
        bootstrap_servers=configured.bootstrap_servers(), acks="all", request_timeout_ms=30_000
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def publish(configured: Settings, records: Iterable[Trade], *, name: str = "sp500") -> None:
    """Put records into their topic, each shard in one partition."""
    await ensure_topics(configured)
    spec = feed_named(name)
    partitions = configured.feeds[name].partitions
    async with producing(configured) as producer:
        futures = [
            await producer.send(
                configured.kafka.topic_prefix + spec.topic,
                codec.encode(record),
                key=record.symbol.encode(),
                partition=partition_of(record.pod_index, partitions),
            )
            for record in records
        ]
        await asyncio.gather(*futures)


async def publish_raw(configured: Settings, *values: bytes, name: str = "sp500") -> None:
    """Put anything into a feed's first partition."""
    await ensure_topics(configured)
    async with producing(configured) as producer:
        for value in values:
            await producer.send_and_wait(
                configured.kafka.topic_prefix + feed_named(name).topic, value, key=b"X", partition=0
            )


@contextlib.asynccontextmanager
async def consuming(configured: Settings, name: str = "sp500", partitions=(0, 1, 2)):
    """A consumer in this process; stopped cleanly at the end."""
    service = build_consumer(configured, name, partitions=partitions)
    task = asyncio.create_task(service.run())
    try:
        yield service
    finally:
        service.stop()
        _, unfinished = await asyncio.wait([task], timeout=STOP_S)
        if unfinished:
            task.cancel()
        assert not unfinished, f"the consumer did not stop within {STOP_S:g} s: {service}"
        task.result()


class ConsumerProcess:
    """A consumer in a process of its own, to be killed."""

    def __init__(self, configured: Settings, name: str = "sp500", partitions=(0, 1, 2)) -> None:
        environment = {
            "PIPELINE_POSTGRES__DSN": configured.postgres_dsn(),
            "PIPELINE_REDIS__URL": configured.redis_url(),
            "PIPELINE_KAFKA__BOOTSTRAP_SERVERS": configured.bootstrap_servers(),
            "PIPELINE_KAFKA__TOPIC_PREFIX": configured.kafka.topic_prefix,
            "PIPELINE_STREAMS__LEASE_TTL_S": str(configured.streams.lease_ttl_s),
            "PIPELINE_STREAMS__BATCH_ROWS": str(configured.streams.batch_rows),
        }
        self._command = [
            sys.executable,
            "-m",
            "tests.consumer_process",
            name,
            json.dumps(list(partitions)),
        ]
        self._environment = {**os.environ, **environment}
        self._child: subprocess.Popen | None = None

    def start(self) -> None:
        self._child = subprocess.Popen(self._command, env=self._environment, start_new_session=True)

    def signal(self, number: int) -> None:
        os.killpg(self._child.pid, number)

    def kill(self) -> None:
        if self._child is not None and self._child.poll() is None:
            self.signal(signal.SIGKILL)
            self._child.wait(10)


def rows(dsn: str, query: str, *values) -> list[tuple]:
    """Return what a query finds."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(query, values).fetchall()


def stored(dsn: str, table: str = "sp500_websocket_trades") -> int:
    """Return how many rows a history table has; -1 while Postgres is away."""
    try:
        return rows(dsn, f"SELECT count(*) FROM {table}")[0][0]
    except psycopg.OperationalError:
        return -1


async def wait_stored(dsn: str, count: int, *, timeout_s: float = 60) -> None:
    """Wait until exactly `count` trades are stored."""
    await eventually(
        lambda: stored(dsn) >= count, timeout_s=timeout_s, what=f"{count} rows, has {stored(dsn)}"
    )
    assert stored(dsn) == count


def identities(dsn: str) -> set[tuple[int, int, int]]:
    """Return which records are stored."""
    return set(rows(dsn, "SELECT pod_index, epoch, seq FROM sp500_websocket_trades"))

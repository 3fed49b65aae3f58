"""Kill -9 between a snapshot and the stream's own message: one trade is one row, counted once."""

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.simulators.base import as_json
from ray_pipeline.simulators.bithumb import BithumbSimulator
from ray_pipeline.simulators.options import Options
from ray_pipeline.simulators.upbit import UpbitSimulator
from ray_pipeline.storage.audit_facts import run_audit
from ray_pipeline.storage.kafka.topics import ensure_topics, topic_name
from tests.integration.test_recorded_input import pointed
from tests.streams import ConsumerProcess, make_settings, rows
from tests.support import eventually

MARKETS = ["KRW-BTC", "KRW-ETH"]
VENUES = [("bithumb", BithumbSimulator), ("upbit", UpbitSimulator)]


@pytest.fixture
def configured(postgres_dsn, redis_url, kafka_server, topic_prefix):
    """A pipeline of this test's own that reconnects at once."""
    return make_settings(
        postgres_dsn, redis_url, kafka_server.bootstrap_servers, topic_prefix,
        subscribe_pause_s=0, subscribe_rest_s=0, connect_pause_s=0, backoff_base_s=0.1,
        backoff_cap_s=0.2,
    )  # fmt: skip


def producer_process(configured, feed):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.producer_process", feed, "0"],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    process.stdin.write(pickle.dumps((configured, MARKETS)))
    process.stdin.close()
    return process


class Pipeline:
    """A producer and a consumer of one venue, each in a process that can be killed."""

    def __init__(self, configured, feed, simulator) -> None:
        self.configured, self.feed, self.simulator = configured, feed, simulator
        self.table = f"{feed}_ticker"
        self._producer = None
        self._consumer = ConsumerProcess(configured, feed, (0,))

    def start_consumer(self):
        self._consumer.start()

    def kill_consumer(self):
        self._consumer.kill()

    async def start_producer(self):
        """Start it, and wait until it has subscribed again."""
        subscribed = self.simulator.stats().accepted
        self._producer = producer_process(self.configured, self.feed)
        await eventually(
            lambda: (
                self.simulator.stats().accepted > subscribed
                and any(len(one.symbols) == 2 for one in self.simulator.connections)
            ),
            timeout_s=60,
            what="the subscription",
        )

    async def kill_producer(self):
        if self._producer is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._producer.pid, signal.SIGKILL)
        self._producer.wait(10)
        self._producer = None
        await eventually(lambda: not self.simulator.connections, what="the end of the connection")

    async def stream(self, market):
        """Let the stream deliver the latest trade of a market, of which a snapshot was sent."""
        ticker = json.loads(self.simulator._frame(market, "SNAPSHOT").text)
        await self.simulator.do_frame("raw", as_json({**ticker, "stream_type": "REALTIME"}))

    async def trade(self, market):
        """Let a trade happen; the stream delivers it."""
        self.simulator._next(market)
        await self.stream(market)

    def stored(self):
        """Return the number of rows of each trade."""
        return rows(
            self.configured.postgres_dsn(),
            "SELECT market, trade_timestamp, trade_volume, count(*) "
            f"FROM {self.table} GROUP BY 1, 2, 3 ORDER BY 1, 2",
        )

    async def wait_stored(self, count):
        await eventually(lambda: len(self.stored()) >= count, timeout_s=60, what=f"{count} trades")

    async def wait_accepted(self, count):
        """Wait until the broker holds so many records."""
        partition = TopicPartition(topic_name(self.configured, feed_named(self.feed)), 0)
        reader = AIOKafkaConsumer(bootstrap_servers=self.configured.bootstrap_servers())
        await reader.start()
        try:

            async def accepted():
                return (await reader.end_offsets([partition]))[partition] >= count

            await eventually(accepted, timeout_s=60, what=f"{count} records in the broker")
        finally:
            await reader.stop()

    def unconfirmed(self):
        return rows(self.configured.postgres_dsn(), "SELECT count(*) FROM snapshot_rows")[0][0]

    async def check(self, trades):
        """Check that each trade is one row, and that the bars count it once."""
        dsn = self.configured.postgres_dsn()
        assert [count for *_, count in self.stored()] == [1] * trades
        bars = rows(dsn, "SELECT sum(volume), sum(trades) FROM bars WHERE interval_s = 1")
        assert bars == [(sum(volume for _, _, volume, _ in self.stored()), trades)]
        await self.kill_producer()
        audit = await run_audit(self.configured, wait_s=10)
        assert not audit.as_json().get("missing"), audit.as_json()


@pytest.fixture(params=VENUES, ids=[name for name, _ in VENUES])
async def pipeline(request, configured, tmp_path):
    feed, simulator_type = request.param
    async with simulator_type(Options(rate=0, symbols=tuple(MARKETS))) as simulator:
        here = pointed(configured, tmp_path, **{feed: simulator.endpoint})
        await ensure_topics(here)
        running = Pipeline(here, feed, simulator)
        try:
            yield running
        finally:
            await running.kill_producer()
            running.kill_consumer()


@pytest.mark.parametrize("killed", ["producer", "consumer", "both"])
async def test_the_snapshot_is_stored_and_then_the_stream_delivers_its_trade(pipeline, killed):
    pipeline.start_consumer()
    await pipeline.start_producer()
    await pipeline.wait_stored(2)
    assert pipeline.unconfirmed() == 2

    if killed != "producer":
        pipeline.kill_consumer()
    if killed != "consumer":
        await pipeline.kill_producer()
        await pipeline.start_producer()
    for market in MARKETS:
        await pipeline.stream(market)
    await pipeline.trade("KRW-BTC")
    if killed != "producer":
        pipeline.start_consumer()
    await pipeline.wait_stored(3)

    await pipeline.check(3)
    assert pipeline.unconfirmed() == 0


async def test_the_broker_has_the_snapshot_that_the_dead_producer_never_saw_acknowledged(pipeline):
    """The log decides, and not the memory of a producer."""
    await pipeline.start_producer()
    await pipeline.wait_accepted(2)
    await pipeline.kill_producer()
    await pipeline.start_producer()
    for market in MARKETS:
        await pipeline.stream(market)
    await pipeline.trade("KRW-ETH")
    pipeline.start_consumer()
    await pipeline.wait_stored(3)

    await pipeline.check(3)


async def test_everything_is_killed_after_the_stream_has_delivered_the_trade(pipeline):
    """The snapshot of the next subscription repeats it, the next trade does not."""
    pipeline.start_consumer()
    await pipeline.start_producer()
    await pipeline.wait_stored(2)
    for market in MARKETS:
        await pipeline.stream(market)
    await eventually(lambda: pipeline.unconfirmed() == 0, timeout_s=60, what="the confirmations")
    pipeline.kill_consumer()
    await pipeline.kill_producer()
    await pipeline.start_producer()
    await pipeline.trade("KRW-BTC")
    pipeline.start_consumer()
    await pipeline.wait_stored(3)

    await pipeline.check(3)

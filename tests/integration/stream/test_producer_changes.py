"""Producers while the world changes: other symbols, other owners, and servers that go and come."""

import asyncio
import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import aiohttp
import psycopg
import pytest
from aiohttp import web
from pydantic import SecretStr

from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.services.shard_wiring import build_producer
from ray_pipeline.settings import Settings
from ray_pipeline.simulators.base import Connection
from ray_pipeline.simulators.bithumb import BithumbOptions, BithumbSimulator
from ray_pipeline.simulators.finnhub import FinnhubOptions, FinnhubSimulator
from ray_pipeline.storage.audit_facts import run_audit
from ray_pipeline.storage.kafka.topics import ensure_topics
from ray_pipeline.storage.postgres.heartbeats import Heartbeats
from ray_pipeline.storage.postgres.symbols import NotifiedSymbols
from ray_pipeline.storage.spool import open_spool
from ray_pipeline.stream.heartbeat import Beat
from tests.integration.test_recorded_input import add_companies, arrived, collecting
from tests.memory_limit import memory_limit
from tests.streams import consuming, make_settings, rows, stored
from tests.support import eventually

SYMBOLS = ["AAPL", "MSFT", "NVDA"]
MARKETS = ("KRW-BTC", "KRW-ETH")
LISTENERS = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'ray-pipeline symbol notifications'"
)
RARELY_POLLED = replace(feed_named("top_gainers").symbols, poll_s=3_600.0)


class ListeningFinnhub(FinnhubSimulator):
    """Remembers what its clients asked for."""

    def __init__(self, options: FinnhubOptions) -> None:
        super().__init__(options)
        self.asked: list[tuple[str, str]] = []

    async def on_text(self, connection: Connection, text: str) -> None:
        message = json.loads(text)
        self.asked.append((message["type"], message["symbol"]))
        await super().on_text(connection, text)


class CountingRest(BithumbSimulator):
    """Counts how often it was asked for tickers."""

    asked = 0

    async def _answer_tickers(self, request: web.Request) -> web.Response:
        self.asked += 1
        return await super()._answer_tickers(request)


class ProducerProcess:
    """A producer in a process of its own, to be killed or frozen."""

    def __init__(self, configured: Settings, feed: str = "sp500", shard: int = 1) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.producer_process", feed, str(shard)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._child.stdin.write(pickle.dumps((configured, SYMBOLS)))
        self._child.stdin.close()

    def __enter__(self) -> "ProducerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def exit_status(self) -> int | None:
        """The negative number of the signal that ended it; None while it runs."""
        return self._child.poll()

    def signal(self, number: int) -> None:
        os.kill(self._child.pid, number)

    def kill(self) -> None:
        if self._child.poll() is None:
            self.signal(signal.SIGKILL)
            self._child.wait(10)


def settings_for(dsn: str, redis_url: str, bootstrap: str, *, spool: Path, **streams) -> Settings:
    """A pipeline of this test's own, without the pauses that a real provider needs."""
    quick = {
        "shards": 1, "subscribe_pause_s": 0, "subscribe_rest_s": 0, "connect_pause_s": 0,
        "market_hours": "always", "backoff_base_s": 0.1, "backoff_cap_s": 0.5, "spool_dir": spool,
    }  # fmt: skip
    made = make_settings(dsn, redis_url, bootstrap, "", **{**quick, **streams})
    keys = {"finnhub": [SecretStr("key of shard 1"), SecretStr("key of the top gainers")]}
    return made.model_copy(update={"api_keys": keys})


def prefixed(configured: Settings, prefix: str) -> Settings:
    """The same with topics of a test's own."""
    kafka = configured.kafka.model_copy(update={"topic_prefix": prefix})
    return configured.model_copy(update={"kafka": kafka})


def at(configured: Settings, simulator: FinnhubSimulator) -> Settings:
    """The same, pointed at a simulator."""
    return configured.changed(finnhub={"ws_url": simulator.url})


def but(configured: Settings, **streams) -> Settings:
    """The same with other settings of the streams."""
    return configured.model_copy(update={"streams": configured.streams.model_copy(update=streams)})


@pytest.fixture
def configured(postgres_dsn, redis_url, kafka_server, topic_prefix, tmp_path):
    made = settings_for(
        postgres_dsn, redis_url, kafka_server.bootstrap_servers, spool=tmp_path / "spool"
    )
    return prefixed(made, topic_prefix)


async def audited(configured: Settings) -> None:
    """Check that every number that was published is explained, and nothing is there twice."""
    audit = await run_audit(configured, wait_s=20)
    assert audit.clean, audit.as_json()


def add_movers(dsn: str, batch: int, **categories: str) -> None:
    """Insert a batch as the job that finds the movers does."""
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO top_gainers (batch_id, last_updated, symbol, category, rank_position) "
            "VALUES (%s, now(), %s, %s, %s)",
            [
                (batch, symbol, category, rank)
                for rank, (symbol, category) in enumerate(categories.items(), 1)
            ],
        )


# Symbols -------------------------------------------------------------------------------------


async def test_a_new_batch_is_announced_not_polled_for(postgres_dsn):
    """The pause between two looks is an hour here, so only the notification can tell."""
    add_movers(postgres_dsn, 1, GME="top_gainers")
    updates = NotifiedSymbols(postgres_dsn, RARELY_POLLED).updates()
    async with contextlib.aclosing(updates), asyncio.timeout(60):
        assert await anext(updates) == {"GME": "top_gainers"}

        add_movers(postgres_dsn, 2, AMC="top_losers")

        assert await anext(updates) == {"AMC": "top_losers"}


async def test_a_batch_that_came_while_nobody_listened_is_read(postgres_dsn):
    """Its notification went to a connection that was dead: the next one looks first."""
    add_movers(postgres_dsn, 1, GME="top_gainers")
    updates = NotifiedSymbols(postgres_dsn, RARELY_POLLED).updates()
    async with contextlib.aclosing(updates), asyncio.timeout(60):
        await anext(updates)
        with psycopg.connect(postgres_dsn) as connection:
            connection.execute(f"SELECT pg_terminate_backend(pid) FROM ({LISTENERS}) AS one")

        add_movers(postgres_dsn, 2, AMC="top_losers")

        assert await anext(updates) == {"AMC": "top_losers"}


async def test_a_new_batch_changes_the_subscriptions_by_the_difference(configured, postgres_dsn):
    """Also after its LISTEN connection was killed. Who stays is not asked for again, nor lost."""

    def traded() -> set[tuple]:
        return set(rows(postgres_dsn, "SELECT DISTINCT symbol, category FROM finnhub_trades"))

    add_movers(postgres_dsn, 1, GME="top_gainers", AMC="top_gainers", NIO="top_losers")
    async with ListeningFinnhub(FinnhubOptions(rate=200)) as simulator:
        here = at(configured, simulator)
        async with collecting(here, "top_gainers", 0, []):
            first = [("subscribe", symbol) for symbol in ("GME", "AMC", "NIO")]
            await eventually(lambda: simulator.asked == first, what="the first batch")

            add_movers(postgres_dsn, 2, GME="top_gainers", AMC="top_losers", RIOT="top_losers")
            second = [*first, ("unsubscribe", "NIO"), ("subscribe", "RIOT")]
            await eventually(lambda: simulator.asked == second, what="the second batch")

            await eventually(
                lambda: traded() >= {("GME", "top_gainers"), ("AMC", "top_losers")},
                what="trades under the second batch's categories",
            )
            [(pid,)] = rows(postgres_dsn, LISTENERS)
            rows(postgres_dsn, "SELECT pg_terminate_backend(%s)", pid)
            await eventually(
                lambda: rows(postgres_dsn, LISTENERS + " AND pid <> %s", pid),
                what="another connection that listens",
            )
            add_movers(postgres_dsn, 3, GME="most_actively_traded", COIN="top_gainers")
            third = [("unsubscribe", "AMC"), ("unsubscribe", "RIOT"), ("subscribe", "COIN")]
            await eventually(lambda: simulator.asked == [*second, *third], what="the third batch")

            await eventually(
                lambda: traded() >= {("GME", "most_actively_traded"), ("COIN", "top_gainers")},
                what="trades under the third batch's categories",
            )
            await simulator.do_pause()
            sent = simulator.stats().sent_by_symbol["GME"]
            kept = "SELECT count(*) FROM finnhub_trades WHERE symbol = 'GME'"
            await eventually(
                lambda: rows(postgres_dsn, kept) == [(sent,)], what="all trades of who stayed"
            )
            assert simulator.asked == [*second, *third]
            assert simulator.stats().accepted == 1
        await audited(here)


# Silence -------------------------------------------------------------------------------------


async def test_a_symbol_whose_subscription_was_ignored_is_asked_for_again(configured, postgres_dsn):
    """Without a new connection: the others are well. The gap names the one that was missing."""
    here = but(configured, liveness_s=1.0)
    add_companies(postgres_dsn)
    async with ListeningFinnhub(FinnhubOptions(rate=200)) as simulator:
        await simulator.do_ignore_subscribe("MSFT")
        here = at(here, simulator)
        async with collecting(here, "sp500", 1, SYMBOLS):
            await eventually(
                lambda: simulator.asked.count(("subscribe", "MSFT")) >= 2, what="another request"
            )
            await simulator.do_ignore_subscribe("MSFT", on=False)
            await eventually(lambda: gaps_of(postgres_dsn, "MSFT"), timeout_s=40, what="its gap")

            assert [kind for kind, _ in gaps_of(postgres_dsn, "MSFT")] == ["stalled"]
            assert symbols_stored(postgres_dsn) == set(SYMBOLS)
            assert simulator.stats().accepted == 1
        await audited(here)


async def test_a_symbol_that_goes_quiet_is_asked_for_again_and_its_gap_names_it(
    configured, postgres_dsn
):
    """It had trades before, so the silence has a beginning."""
    here = but(configured, liveness_s=1.0)
    add_companies(postgres_dsn)
    async with ListeningFinnhub(FinnhubOptions(rate=200)) as simulator:
        here = at(here, simulator)
        async with collecting(here, "sp500", 1, SYMBOLS):
            await eventually(lambda: symbols_stored(postgres_dsn) == set(SYMBOLS), what="trades")
            await simulator.do_drop("MSFT")
            await eventually(
                lambda: simulator.asked.count(("subscribe", "MSFT")) >= 2, what="another request"
            )
            await simulator.do_drop("MSFT", on=False)
            await eventually(lambda: gaps_of(postgres_dsn, "MSFT"), timeout_s=40, what="its gap")

            [(kind, whole)] = gaps_of(postgres_dsn, "MSFT")
            assert (kind, whole) == ("stalled", True)
            assert not gaps_of(postgres_dsn, "AAPL")
        await audited(here)


async def test_a_symbol_that_stays_quiet_is_worth_a_new_connection(configured, postgres_dsn):
    """Asking again did not help, so the connection itself is suspected; gaps tell both."""
    here = but(configured, liveness_s=1.0)
    add_companies(postgres_dsn)
    async with ListeningFinnhub(FinnhubOptions(rate=200)) as simulator:
        here = at(here, simulator)
        async with collecting(here, "sp500", 1, SYMBOLS):
            await eventually(lambda: symbols_stored(postgres_dsn) == set(SYMBOLS), what="trades")
            await simulator.do_drop("MSFT")
            await eventually(
                lambda: simulator.stats().accepted > 1, timeout_s=60, what="another connection"
            )
            await simulator.do_drop("MSFT", on=False)
            await eventually(lambda: gaps_of(postgres_dsn, "MSFT"), timeout_s=60, what="its gap")

            causes = "SELECT cause FROM gaps WHERE symbols IS NULL AND kind = 'stalled'"
            await eventually(
                lambda: any(
                    "still no data of MSFT" in one for (one,) in rows(postgres_dsn, causes)
                ),
                what="the gap of the connection",
            )
        await audited(here)


def gaps_of(dsn: str, symbol: str) -> list[tuple[str, bool]]:
    """Return the gaps that name a symbol alone: the kind, and whether they have both ends."""
    query = "SELECT kind, from_at < to_at FROM gaps WHERE symbols = %s"
    return rows(dsn, query, [symbol])


def symbols_stored(dsn: str) -> set[str]:
    """Return the symbols that have trades."""
    return {one for (one,) in rows(dsn, "SELECT DISTINCT symbol FROM sp500_websocket_trades")}


# Bithumb -------------------------------------------------------------------------------------


async def test_rest_stands_in_for_bithumbs_websocket_until_it_is_back(configured, postgres_dsn):
    """Two servers, so that one can be down; somebody else listens to the second one's market."""
    options = BithumbOptions(rate=100, symbols=MARKETS)
    async with (
        BithumbSimulator(options) as socket,
        CountingRest(BithumbOptions(rate=100, symbols=MARKETS, seed=2)) as rest,
        listening(rest),
    ):
        here = configured.changed(
            bithumb={"ws_url": socket.ws_url, "rest_url": rest.rest_url},
            feeds={"bithumb": {"poll_s": 0.2}},
        )
        async with collecting(here, "bithumb", 0, []):
            await more_tickers(postgres_dsn, 50)

            await socket.do_refuse(status=503, count=1_000_000)
            await socket.do_close(code=1006)
            sent, asked = socket.stats().sent, rest.asked
            await eventually(
                lambda: stored(postgres_dsn, "bithumb_ticker") > sent + 2 * len(MARKETS) * 3,
                timeout_s=40,
                what="tickers that no socket brought",
            )
            assert rest.asked > asked
            assert socket.stats().sent == sent

            await socket.do_refuse(count=0)
            cause = "SELECT cause FROM gaps WHERE feed = 'bithumb' AND kind = 'disconnected'"
            [(told,)] = await eventually(
                lambda: rows(postgres_dsn, cause), timeout_s=40, what="the gap's end"
            )
            assert "polled over REST" in told
            await more_tickers(postgres_dsn, 50)
            asked = rest.asked
            await more_tickers(postgres_dsn, 200)
            assert rest.asked == asked
        await audited(here)


@contextlib.asynccontextmanager
async def listening(simulator: BithumbSimulator):
    """A client that reads everything, so that there is a market to be asked about."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(simulator.ws_url) as socket,
    ):
        await socket.send_json([{"ticket": "test"}, {"type": "ticker", "codes": list(MARKETS)}])

        async def read() -> None:
            async for _ in socket:
                pass

        reading = asyncio.create_task(read())
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def more_tickers(dsn: str, count: int) -> None:
    """Wait until so many more tickers are stored."""
    goal = stored(dsn, "bithumb_ticker") + count
    await eventually(
        lambda: stored(dsn, "bithumb_ticker") >= goal, timeout_s=40, what=f"{count} tickers"
    )


# Owners --------------------------------------------------------------------------------------


async def test_of_two_producers_of_a_shard_one_publishes_until_it_is_killed(
    configured, postgres_dsn, tmp_path
):
    """On two machines: each has a spool of its own. The second one's epoch is higher."""
    add_companies(postgres_dsn)
    async with ListeningFinnhub(FinnhubOptions(rate=200)) as simulator:
        here, there = at(configured, simulator), but(at(configured, simulator), spool_dir=tmp_path)
        await ensure_topics(here)
        with ProducerProcess(there) as first:
            async with consuming(here):
                await flowing(postgres_dsn, epoch=1)
                async with running(here) as second:
                    await eventually(
                        lambda: "waiting for the lease" in second.status()["cause"],
                        what="the second one to wait",
                    )
                    await more_trades(postgres_dsn, epoch=1)
                    assert simulator.stats().accepted == 1
                    assert second.status()["epoch"] == 0

                    first.kill()
                    await flowing(postgres_dsn, epoch=2)
                    await eventually(
                        lambda: rows(postgres_dsn, DOWN), what="the gap between the two"
                    )
                await eventually(lambda: arrived(postgres_dsn), what="what was published")
        await audited(here)
    assert owners(postgres_dsn) == 2


async def test_a_producer_that_the_kernel_kills_for_its_memory_loses_nothing_without_a_gap(
    configured, postgres_dsn, tmp_path
):
    """It gets no chance to flush. The next producer goes on, and the outage is in gaps."""
    add_companies(postgres_dsn)
    with memory_limit(64 * 2**20) as limit:
        async with ListeningFinnhub(FinnhubOptions(rate=200)) as simulator:
            here = at(configured, simulator)
            await ensure_topics(here)
            async with consuming(here):
                with ProducerProcess(but(here, spool_dir=tmp_path)) as leaking:
                    await flowing(postgres_dsn, epoch=1)
                    limit.add(leaking.pid)
                    leaking.signal(signal.SIGUSR1)
                    await eventually(
                        lambda: leaking.exit_status is not None, timeout_s=60, what="its end"
                    )
                assert leaking.exit_status == -signal.SIGKILL
                assert limit.kills() == 1
                async with running(here):
                    await flowing(postgres_dsn, epoch=2)
                    await eventually(
                        lambda: rows(postgres_dsn, DOWN), what="the gap between the two"
                    )
                await eventually(lambda: arrived(postgres_dsn), what="what was published")
            await audited(here)
    assert owners(postgres_dsn) == 2


async def test_a_producer_that_was_frozen_too_long_publishes_nothing_more_under_its_epoch(
    configured, postgres_dsn, tmp_path
):
    """It wakes up and believes it is the owner; its own clock tells it that the lease is over."""
    add_companies(postgres_dsn)
    async with ListeningFinnhub(FinnhubOptions(rate=200)) as simulator:
        here, there = at(configured, simulator), but(at(configured, simulator), spool_dir=tmp_path)
        await ensure_topics(here)
        with ProducerProcess(there) as first:
            async with consuming(here):
                await flowing(postgres_dsn, epoch=1)
                async with running(here):
                    first.signal(signal.SIGSTOP)
                    await flowing(postgres_dsn, epoch=2)
                    first.signal(signal.SIGCONT)
                    await eventually(
                        lambda: rows(postgres_dsn, LOST), what="the first one to see that"
                    )
                    await more_trades(postgres_dsn, epoch=2)
                    first.kill()
                await eventually(lambda: arrived(postgres_dsn), what="what was published")
        await audited(here)
    order = "SELECT max(id) FILTER (WHERE epoch = 1) < min(id) FILTER (WHERE epoch = 2) FROM "
    assert rows(postgres_dsn, order + "sp500_websocket_trades") == [(True,)]


async def test_a_producer_killed_before_its_first_record_still_leaves_a_beginning(postgres_dsn):
    """Whoever comes next reports the gap from its heartbeat on; a clean stop lost nothing."""
    said_nothing = Beat(
        feed="sp500", shard=1, epoch=1, holder="first", published=0, spooled=0, connected=False,
        state="waiting", cause="", wanted=0, confirmed=0, received=0, reconnects=0,
        last_data_at=None, safe_at=None,
    )  # fmt: skip
    beats = Heartbeats(postgres_dsn)

    await beats.write(said_nothing)
    [(beaten_at,)] = rows(postgres_dsn, "SELECT heartbeat_at FROM producer_epochs")
    assert await beats.last_safe_at("sp500", 1, before_epoch=2) == beaten_at
    assert await beats.last_safe_at("sp500", 1, before_epoch=1) is None

    await beats.write(replace(said_nothing, stopped_at=beaten_at))
    assert await beats.last_safe_at("sp500", 1, before_epoch=2) is None

    earlier = beaten_at - timedelta(days=1)
    await beats.write(replace(said_nothing, safe_at=earlier))
    await beats.write(replace(said_nothing, epoch=2))
    assert await beats.last_safe_at("sp500", 1, before_epoch=3) == earlier
    await beats.close()


# Servers that go -----------------------------------------------------------------------------


async def test_a_producer_killed_while_the_broker_is_away_leaves_its_spool_to_the_next(
    own_kafka, postgres_dsn, redis_url, tmp_path
):
    """What was on disk arrives under the epoch it was numbered in; the rest is in a gap."""
    spool = tmp_path / "spool"
    configured = settings_for(postgres_dsn, redis_url, own_kafka.bootstrap_servers, spool=spool)
    add_companies(postgres_dsn)
    async with FinnhubSimulator(FinnhubOptions(rate=200)) as simulator:
        here = at(configured, simulator)
        await ensure_topics(here)
        async with consuming(here):
            with ProducerProcess(here):
                await flowing(postgres_dsn, epoch=1)
                await asyncio.to_thread(own_kafka.kill)
                await eventually(
                    lambda: rows(postgres_dsn, "SELECT 1 FROM producer_epochs WHERE spooled > 200"),
                    timeout_s=60,
                    what="records on disk",
                )
            left = numbers_in(spool)
            await asyncio.to_thread(own_kafka.start)
            async with running(here):
                await flowing(postgres_dsn, epoch=2)
                await eventually(
                    lambda: left <= numbers_stored(postgres_dsn, epoch=1),
                    timeout_s=40,
                    what="what was on disk",
                )
                await eventually(lambda: rows(postgres_dsn, DOWN), what="the gap")
            await eventually(lambda: arrived(postgres_dsn), what="what was published")
            assert not numbers_in(spool)
            await audited(here)
    assert numbers_stored(postgres_dsn, epoch=1) == set(range(1, max(left) + 1))


async def test_a_producer_goes_on_collecting_while_postgres_is_killed_and_started(
    own_postgres, kafka_server, redis_url, topic_prefix, tmp_path
):
    """Longer than its lease lives: the records wait on disk, and every one of them arrives."""
    dsn, spool = own_postgres.dsn, tmp_path / "spool"
    made = settings_for(dsn, redis_url, kafka_server.bootstrap_servers, spool=spool)
    add_companies(dsn)
    async with FinnhubSimulator(FinnhubOptions(rate=200)) as simulator:
        here = at(prefixed(made, topic_prefix), simulator)
        async with collecting(here, "sp500", 1, SYMBOLS) as producer:
            await flowing(dsn, epoch=1)
            await asyncio.to_thread(own_postgres.kill)
            received = producer.status()["received"]
            await eventually(
                lambda: producer.status()["spooled"] > 200, timeout_s=60, what="records on disk"
            )
            assert producer.status()["received"] > received
            assert producer.status()["connected"]
            await asyncio.to_thread(own_postgres.start)
            await more_trades(dsn, epoch=1)
            await simulator.do_pause()
            await eventually(
                lambda: stored(dsn) == simulator.stats().sent,
                timeout_s=60,
                what=f"all {simulator.stats().sent} trades",
            )
            assert simulator.stats().accepted == 1
        await audited(here)
        assert rows(dsn, "SELECT DISTINCT epoch FROM sp500_websocket_trades") == [(1,)]
        assert rows(dsn, "SELECT 1 FROM gaps") == []


DOWN = "SELECT 1 FROM gaps WHERE kind = 'producer_down' AND epoch = 2 AND from_at < to_at"
LOST = "SELECT 1 FROM producer_epochs WHERE epoch = 1 AND state = 'lost'"


@contextlib.asynccontextmanager
async def running(configured: Settings):
    """A producer in this process; stopped cleanly at the end."""
    producer = await build_producer(configured, "sp500", 1)
    producer.set_symbols(dict.fromkeys(SYMBOLS))
    task = asyncio.create_task(producer.run())
    try:
        yield producer
        await producer.stop(drain_s=10)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def numbers_stored(dsn: str, *, epoch: int) -> set[int]:
    """Return the numbers of an epoch's trades; none while Postgres is away."""
    query = "SELECT seq FROM sp500_websocket_trades WHERE epoch = %s"
    with contextlib.suppress(psycopg.OperationalError):
        return {seq for (seq,) in rows(dsn, query, epoch)}
    return set()


async def flowing(dsn: str, *, epoch: int) -> None:
    """Wait until trades of an epoch are stored."""
    await eventually(
        lambda: len(numbers_stored(dsn, epoch=epoch)) > 20,
        timeout_s=60,
        what=f"trades of epoch {epoch}",
    )


async def more_trades(dsn: str, *, epoch: int) -> None:
    """Wait until more trades of an epoch are stored."""
    goal = len(numbers_stored(dsn, epoch=epoch)) + 50
    await eventually(
        lambda: len(numbers_stored(dsn, epoch=epoch)) >= goal,
        timeout_s=60,
        what=f"more trades of epoch {epoch}",
    )


def numbers_in(directory: Path) -> set[int]:
    """Return the numbers that wait on disk, with the producer gone."""
    spool = open_spool(directory, "sp500", shard=1, limit_bytes=2**30)
    try:
        return {entry.seq for entry in spool.read(1_000_000)}
    finally:
        spool.close()


def owners(dsn: str) -> int:
    """Return how many producers had the shard."""
    return len(set(rows(dsn, "SELECT holder FROM producer_epochs")))

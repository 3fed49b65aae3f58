"""The status page on a real Postgres."""

import json
from collections.abc import AsyncIterator

import pytest
from rich.console import Console

from ray_pipeline.cli.tables import render_status, render_table
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.observe.why_feed import explain_feed
from ray_pipeline.settings import Settings, load
from ray_pipeline.storage.postgres.connection import Connection, session
from ray_pipeline.storage.postgres.status_rows import read_feed_rows, read_status
from ray_pipeline.storage.postgres.topic_rows import TopicState, read_topics, write_topics


@pytest.fixture
async def database(postgres_dsn) -> AsyncIterator[Connection]:
    async with session(postgres_dsn, name="test") as connection:
        await connection.execute(
            "INSERT INTO producer_epochs (feed, shard, epoch, holder, published, connected, state,"
            " wanted, confirmed, last_data_at, stopped_at, cause) VALUES"
            " ('sp500', 0, 1, 'old', 9, true, 'stopped', 40, 40, now(), now(), ''),"
            " ('sp500', 0, 2, 'new', 50, true, 'streaming', 50, 48, now(), NULL, ''),"
            " ('sp500', 1, 1, 'two', 7, false, 'waiting', 1, 0, NULL, NULL, 'invalid key'),"
            " ('sp500', 1000, 1, 'dlq', 1, false, 'replayed', 0, 0, NULL, now(), '')"
        )
        await connection.execute(
            "INSERT INTO stream_sequences (feed, shard, epoch, stored, last_received_at)"
            " VALUES ('sp500', 0, 1, 9, now() - interval '1 h'), ('sp500', 0, 2, 48, now())"
        )
        await connection.execute(
            "INSERT INTO consumer_state (topic, partition, holder, state, lag, redis_state,"
            " redis_bytes, redis_budget_bytes, redis_retention_s, redis_shortened)"
            " VALUES ('x-sp500-websocket-trades', 0, 'c', 'storing', 3, 'writing',"
            " 5000000, 128000000, 9000, 'all feeds share 128 MB')"
        )
        await connection.execute(
            "INSERT INTO gaps (feed, shard, epoch, kind, cause, recorded_at) VALUES"
            " ('sp500', 0, 1, 'disconnected', 'test', now()),"
            " ('sp500', 0, 1, 'disconnected', 'test', now() - interval '2 d')"
        )
        await connection.execute(
            'INSERT INTO dead_letters (feed, topic, partition, "offset", payload, reason)'
            " VALUES ('bithumb', 'bithumb-ticker', 0, 1, 'x', 'not_json')"
        )
        await connection.execute(
            "INSERT INTO shard_assignments VALUES ('sp500', 'AAPL', 0), ('sp500', 'MSFT', 1)"
        )
        await connection.execute(
            "INSERT INTO sp500_companies (symbol, company_name)"
            " VALUES ('AAPL', 'a'), ('MSFT', 'm'), ('ZTS', 'z')"
        )
        yield connection


async def test_a_fresh_database_has_a_row_for_every_feed(postgres_dsn):
    async with session(postgres_dsn, name="test") as connection:
        rows = await read_feed_rows(connection)

    assert [row.feed for row in rows] == [feed.name for feed in FEEDS]
    assert {row.stored for row in rows} == {0}


async def test_a_feed_row_adds_up_the_newest_producers_only(database):
    row = (await read_feed_rows(database))[0]

    assert (row.symbols_confirmed, row.symbols_wanted) == (48, 51)
    assert (row.shards_running, row.shards_known) == (2, 2)
    assert (row.stored, row.lag, row.gaps_24h, row.redis_state) == (57, 3, 1, "writing")
    assert (row.redis_bytes, row.redis_budget_bytes, row.redis_retention_s) == (
        5_000_000, 128_000_000, 9_000.0,
    )  # fmt: skip
    assert row.redis_shortened == "all feeds share 128 MB"
    assert row.last_record_age_s is not None
    assert row.last_record_age_s < 60


async def test_the_page_says_which_symbols_are_not_covered_and_why(database):
    status = await read_status(database, Settings(), stream_keys={"finnhub": 2})

    assert [(row.why, row.symbols) for row in status.uncovered if row.feed == "sp500"] == [
        ("shard 1: invalid key", ("MSFT",)),
        ("no connection has room for them: 2 API keys are set, one per connection", ("ZTS",)),
    ]


async def test_a_feed_with_one_connection_is_uncovered_too(database):
    """Without a key, top_gainers collected nothing, and no line said so."""
    await database.execute(
        "INSERT INTO producer_epochs (feed, shard, epoch, holder, state, cause) VALUES"
        " ('top_gainers', 0, 1, 'a', 'no_key', 'no key: set one'),"
        " ('upbit', 0, 1, 'b', 'streaming', '')"
    )
    await database.execute("UPDATE producer_epochs SET connected = TRUE WHERE feed = 'upbit'")
    await database.execute("INSERT INTO market_code_bithumb VALUES ('KRW-BTC', 'b', 'Bitcoin')")

    status = await read_status(database, Settings(), stream_keys={"finnhub": 2})

    lines = {row.feed: (row.why, row.symbols) for row in status.uncovered if row.feed != "sp500"}
    assert lines["top_gainers"] == ("shard 0: no key: set one", ())
    assert lines["bithumb"] == ("shard 0: no producer has run yet", ("KRW-BTC",))
    assert "upbit" not in lines


async def test_a_disabled_feed_is_neither_missing_nor_uncovered(database):
    settings = load(feeds={"upbit": {"enabled": False}})

    status = await read_status(database, settings, stream_keys={"finnhub": 2})

    assert [row.feed for row in status.feeds if not row.enabled] == ["upbit"]
    assert "upbit" not in {row.feed for row in status.uncovered}
    (why,) = [explain_feed(row, status) for row in status.feeds if not row.enabled]
    assert why.sentence == "upbit is disabled by setting: PIPELINE_FEEDS__UPBIT__ENABLED=false."


async def test_the_lag_of_a_consumer_that_stopped_comes_from_the_broker(database):
    """It reported 0 at its last poll; the records arrived later."""
    await database.execute("UPDATE consumer_state SET lag = 0, heartbeat_at = 'epoch'")
    state = TopicState("x-sp500-websocket-trades", "sp500", 1, [5], [47])
    await write_topics(database, [state], generation=1)

    status = await read_status(database, Settings(), stream_keys={})

    assert (status.feeds[0].lag, status.consumers[0].lag) == (42, 42)
    assert (status.topics[0].unread_partitions, status.topics[0].unread_records) == ([0], 42)


async def test_an_older_generation_does_not_replace_what_a_newer_one_wrote(database):
    """Both supervisors run during an upgrade, perhaps with different settings."""
    topic = "x-sp500-websocket-trades"
    await write_topics(database, [TopicState(topic, "sp500", 6, [0], [1])], generation=2)
    await write_topics(database, [TopicState(topic, "sp500", 3, [0], [1])], generation=1)

    assert [row.configured for row in await read_topics(database)] == [6]


async def test_the_page_can_be_printed_and_written_as_json(database):
    status = await read_status(database, Settings(), stream_keys={"finnhub": 2})

    console = Console(record=True, width=200, file=None, quiet=False)
    with console.capture() as printed:
        console.print(render_status(status))
        console.print(render_table(status.feeds))
    assert "invalid key" in printed.get()
    assert "not_json" in printed.get()
    assert "all feeds share 128 MB" in printed.get()
    assert json.loads(json.dumps(status.as_json()))["feeds"]["sp500"]["stored"] == 57


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_producer_without_a_key_is_named_beside_the_one_that_collects(database, stopped):
    """A newer generation lacks the key: the older one keeps collecting, and the cause says so."""
    await database.execute(
        "INSERT INTO producer_epochs (feed, shard, epoch, holder, state, cause) VALUES"
        " ('sp500', 0, 0, 'newest', 'no_key', 'no API key: 1 set')"
    )
    if stopped:
        await database.execute(
            "UPDATE producer_epochs SET stopped_at = now() WHERE shard = 0 AND epoch > 0"
        )

    status = await read_status(database, Settings(), stream_keys={"finnhub": 2})
    shard = next(row for row in status.shards if row.shard == 0)

    assert shard.epoch == (0 if stopped else 2)
    assert "no API key: 1 set" in shard.remark
    assert shard.connected == (not stopped)

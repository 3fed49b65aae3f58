"""Producers' heartbeats on a real Postgres."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.heartbeats import Heartbeats
from ray_pipeline.stream.heartbeat import Beat
from tests.support import scalar

SAFE_AT = datetime(2026, 11, 2, 6, tzinfo=UTC)
BEAT = Beat(
    "sp500", 3, 1, "holder", 10, 0, connected=True, state="streaming", cause="", wanted=50,
    confirmed=50, received=10, reconnects=0, last_data_at=SAFE_AT, safe_at=SAFE_AT,
)  # fmt: skip


@pytest.fixture
async def heartbeats(postgres_dsn):
    heartbeats = Heartbeats(postgres_dsn)
    yield heartbeats
    await heartbeats.close()


async def test_a_heartbeat_replaces_the_one_before(heartbeats, postgres_dsn):
    """An epoch has one row."""
    await heartbeats.write(BEAT)
    await heartbeats.write(replace(BEAT, published=25))

    async with session(postgres_dsn, name="test") as connection:
        assert await scalar(connection, "SELECT array_agg(published) FROM producer_epochs") == [25]


async def test_the_newest_earlier_epoch_decides_what_is_safe(heartbeats):
    """Its own row and those of other shards do not count."""
    await heartbeats.write(BEAT)
    await heartbeats.write(replace(BEAT, epoch=2, safe_at=SAFE_AT + timedelta(hours=1)))
    await heartbeats.write(replace(BEAT, epoch=3, safe_at=SAFE_AT + timedelta(hours=2)))
    await heartbeats.write(replace(BEAT, shard=4, epoch=2, safe_at=SAFE_AT + timedelta(hours=9)))

    assert await heartbeats.last_safe_at("sp500", 3, before_epoch=3) == SAFE_AT + timedelta(hours=1)
    assert await heartbeats.last_safe_at("sp500", 3, before_epoch=1) is None


async def test_an_epoch_that_was_killed_before_its_first_record_is_safe_until_its_heartbeat(
    heartbeats,
):
    """An epoch that stopped cleanly without a record lost nothing."""
    await heartbeats.write(replace(BEAT, safe_at=None, stopped_at=SAFE_AT))
    assert await heartbeats.last_safe_at("sp500", 3, before_epoch=9) is None

    await heartbeats.write(replace(BEAT, epoch=2, safe_at=None))
    assert await heartbeats.last_safe_at("sp500", 3, before_epoch=9) is not None


@pytest.mark.parametrize("ahead_s", [3600.0, -3600.0, 0.0])
async def test_a_heartbeat_measures_the_clock_against_the_databases(postgres_dsn, ahead_s):
    heartbeats = Heartbeats(postgres_dsn, clock=lambda: time.time() + ahead_s)
    await heartbeats.write(BEAT)
    assert heartbeats.clock_ahead_s == pytest.approx(ahead_s, abs=60)
    await heartbeats.close()


async def test_a_slow_answer_of_the_database_is_no_wrong_clock(postgres_dsn):
    readings = iter([time.time() - 5, time.time() + 5])
    heartbeats = Heartbeats(postgres_dsn, clock=lambda: next(readings))
    await heartbeats.write(BEAT)
    assert heartbeats.clock_ahead_s == 0
    await heartbeats.close()


async def test_heartbeats_continue_after_an_outage(own_postgres):
    """The connection that the server closed is replaced at the next heartbeat."""
    heartbeats = Heartbeats(own_postgres.dsn)
    await heartbeats.write(BEAT)
    own_postgres.stop()
    with pytest.raises((DatabaseUnavailable, psycopg.Error)):
        await heartbeats.write(BEAT)
    own_postgres.start()

    await heartbeats.write(replace(BEAT, published=11))

    async with session(own_postgres.dsn, name="test") as connection:
        assert await scalar(connection, "SELECT published FROM producer_epochs") == 11
    await heartbeats.close()

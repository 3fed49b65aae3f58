"""A consumer on real servers: every record once, in Postgres and in Redis."""

import json
from decimal import Decimal

import pytest
import redis

from ray_pipeline.feeds import codec
from ray_pipeline.feeds.records import Gap
from ray_pipeline.storage.audit_facts import run_audit
from tests.streams import (
    consuming,
    identities,
    make_settings,
    publish,
    publish_raw,
    rows,
    stored,
    trades,
    wait_stored,
)
from tests.support import eventually


@pytest.fixture
def configured(postgres_dsn, redis_url, kafka_server, topic_prefix):
    """A pipeline of this test's own."""
    return make_settings(postgres_dsn, redis_url, kafka_server.bootstrap_servers, topic_prefix)


async def test_every_record_is_stored_once_with_its_bars_and_latest_value(
    configured, postgres_dsn, redis_url
):
    """Rows, bars, numbers and Redis all say the same."""
    sent = trades(3_000)
    await publish(configured, sent)

    async with consuming(configured):
        await wait_stored(postgres_dsn, len(sent))

    assert identities(postgres_dsn) == {(t.pod_index, t.epoch, t.seq) for t in sent}
    assert rows(postgres_dsn, "SELECT sum(price * volume) FROM sp500_websocket_trades") == [
        (sum(t.price * t.volume for t in sent),)
    ]
    for (count,) in rows(postgres_dsn, "SELECT sum(trades) FROM bars GROUP BY interval_s"):
        assert count == len(sent)
    newest = max((t for t in sent if t.symbol == "S10"), key=lambda t: t.timestamp_ms)
    with redis.Redis.from_url(redis_url) as client:
        value = json.loads(client.get("latest:stocks:sp500:S10"), parse_float=Decimal)
        assert Decimal(value["price"]) == newest.price
        assert value["event_time_ms"] == newest.timestamp_ms
        assert json.loads(client.hget("sp500_realtime_data", "S10")) == json.loads(
            client.get("latest:stocks:sp500:S10")
        )
        assert client.ttl("latest:stocks:sp500:S10") > 431_000
        second = newest.timestamp_ms // 1000
        assert client.exists(f"realtime:stocks:sp500:S10:{second}")
    audit = await run_audit(configured, wait_s=0)
    assert audit.clean, audit.as_json()


async def test_rubbish_is_parked_with_its_reason_and_the_feed_goes_on(configured, postgres_dsn):
    """Each message is a row somewhere."""
    await publish_raw(
        configured, b"", b"{", b"\xff\xfe", b"[]", b'{"symbol":1}', b'{"kind":"gap"}',
        codec.encode(trades(1, timestamp_ms=9_999_999_999_999)[0]),
        codec.encode(trades(1, symbol="A\x00B", start=2)[0]),
        codec.encode(trades(1, start=3)[0]),
    )  # fmt: skip

    async with consuming(configured):
        await wait_stored(postgres_dsn, 1)
        await eventually(
            lambda: rows(postgres_dsn, "SELECT count(*) FROM dead_letters") == [(8,)],
            what="eight dead letters",
        )

    reasons = {reason for (reason,) in rows(postgres_dsn, "SELECT reason FROM dead_letters")}
    assert reasons == {"not_json", "wrong_shape", "future_dated", "bad_text", "not_utf8"} - (
        {"not_utf8"} - reasons
    )
    assert (await run_audit(configured, wait_s=0)).clean


async def test_a_row_that_postgres_refuses_is_found_in_its_batch(configured, postgres_dsn):
    """A category longer than its column: only Postgres notices, and only that row is parked."""
    sent = trades(500, shards=1, pod_index=0)
    sent[250] = trades(1, shards=1, pod_index=0, category="x" * 30, start=251)[0]
    await publish(configured, sent, name="top_gainers")

    async with consuming(configured, "top_gainers", partitions=[0]):
        await eventually(
            lambda: stored(postgres_dsn, "finnhub_trades") == 499, what="499 rows", timeout_s=30
        )

    assert rows(postgres_dsn, "SELECT reason, seq FROM dead_letters") == [("refused_22001", 251)]
    assert rows(postgres_dsn, "SELECT stored, parked FROM stream_sequences") == [(499, 1)]
    assert rows(postgres_dsn, "SELECT sum(trades) FROM bars WHERE interval_s = 60") == [(499,)]
    assert (await run_audit(configured, wait_s=0)).clean


async def test_a_record_that_comes_again_is_recognised(configured, postgres_dsn):
    """A producer that did not see the acknowledgement sends again."""
    sent = trades(300)
    await publish(configured, sent)
    await publish(configured, sent[:100])

    async with consuming(configured) as service:
        await eventually(lambda: service.status.redelivered == 100, what="100 repeats")

    assert stored(postgres_dsn) == 300


async def test_a_hole_in_the_numbers_becomes_a_gap(configured, postgres_dsn, monkeypatch):
    """Numbers 51 to 60 never come."""
    monkeypatch.setattr("ray_pipeline.stream.consumer_reports.MISSING_GRACE_S", 0.0)
    monkeypatch.setattr("ray_pipeline.stream.consumer_reports.MISSING_EVERY_S", 0.1)
    await publish(configured, trades(50, shards=1) + trades(40, shards=1, start=61))

    async with consuming(configured):
        found = await eventually(
            lambda: rows(postgres_dsn, "SELECT kind, shard, first_seq, last_seq FROM gaps"),
            what="a gap",
        )

    assert found == [("sequence", 1, 51, 60)]
    assert (await run_audit(configured, wait_s=0)).clean


async def test_a_producers_gap_is_written_once(configured, postgres_dsn):
    """It has a number like any record, and a repeat of it is recognised."""
    gap = codec.encode(
        Gap(epoch=1, seq=1, pod_index=3, gap_kind="disconnected", cause="1006", symbols=["A"])
    )
    await publish_raw(configured, gap, gap)

    async with consuming(configured) as service:
        await eventually(lambda: service.status.redelivered == 1, what="the repeat")

    assert rows(postgres_dsn, "SELECT kind, cause, symbols FROM gaps") == [
        ("disconnected", "1006", ["A"])
    ]


async def test_redis_never_goes_back_and_is_rebuilt_when_it_lost_its_data(
    configured, postgres_dsn, redis_url
):
    """An old trade changes history, not the latest value; after a flush the value is back."""
    (new,) = trades(1, shards=1, timestamp_ms=1_790_000_000_000, price=Decimal(2))
    (old,) = trades(1, shards=1, timestamp_ms=1_789_999_999_000, price=Decimal(1), start=2)
    (other,) = trades(1, shards=1, symbol="ZZZ", start=3)
    client = redis.Redis.from_url(redis_url)
    key = f"latest:stocks:sp500:{new.symbol}"

    async with consuming(configured):
        await publish(configured, [new, old])
        await wait_stored(postgres_dsn, 2)
        await eventually(lambda: client.get(key), what="the value")
        assert json.loads(client.get(key))["price"] == 2

        client.flushall()
        await publish(configured, [other])
        await eventually(lambda: client.get(key), what="the value after the flush")
        assert json.loads(client.get(key))["price"] == 2
    client.close()

"""Kill, freeze and double everything around a consumer: nothing lost, nothing twice."""

import asyncio
import json
import signal
from random import Random

import psycopg
import pytest
import redis

from ray_pipeline.feeds import codec
from ray_pipeline.feeds.feed import partition_of
from ray_pipeline.storage.audit_facts import run_audit
from tests.streams import (
    ConsumerProcess,
    consuming,
    identities,
    make_settings,
    producing,
    publish,
    rows,
    stored,
    trades,
    wait_stored,
)
from tests.support import eventually

COUNT = 21_000  # a multiple of the shards


@pytest.fixture
def configured(postgres_dsn, redis_url, kafka_server, topic_prefix):
    """A pipeline of this test's own, with batches small enough to be cut in the middle."""
    return make_settings(
        postgres_dsn, redis_url, kafka_server.bootstrap_servers, topic_prefix, batch_rows=500
    )


async def check(configured, sent):
    """Every record once, every bar right, Redis up to date, nothing unexplained."""
    dsn = configured.postgres_dsn()
    await wait_stored(dsn, len(sent))
    assert identities(dsn) == {(t.pod_index, t.epoch, t.seq) for t in sent}
    assert {
        count for (count,) in rows(dsn, "SELECT sum(trades) FROM bars GROUP BY interval_s")
    } == {len(sent)}
    audit = await run_audit(configured, wait_s=20)
    assert audit.clean, audit.as_json()


async def test_a_consumer_killed_again_and_again(configured, postgres_dsn):
    """At any moment: before the commit, between it and Redis, between it and Kafka's own offset."""
    sent = trades(COUNT)
    await publish(configured, sent)
    random = Random(7)
    consumer = ConsumerProcess(configured)
    try:
        for _ in range(4):
            before = stored(postgres_dsn)
            consumer.start()
            goal = min(len(sent), before + random.randint(1, COUNT // 5))
            await eventually(
                lambda goal=goal: stored(postgres_dsn) >= goal, timeout_s=40, what=f"{goal} rows"
            )
            consumer.kill()
        consumer.start()
        await check(configured, sent)
    finally:
        consumer.kill()


async def test_a_frozen_consumer_wakes_up_and_finds_itself_replaced(configured, postgres_dsn):
    """Two consumers of one partition: the one with the older lease stores nothing more."""
    sent = trades(COUNT)
    zombie = ConsumerProcess(configured)
    zombie.start()
    try:
        await publish(configured, sent[: COUNT // 4])
        await eventually(lambda: stored(postgres_dsn) > 0, timeout_s=40, what="the first rows")
        zombie.signal(signal.SIGSTOP)
        async with consuming(configured) as service:
            await publish(configured, sent[COUNT // 4 :])
            await wait_stored(postgres_dsn, len(sent))
            zombie.signal(signal.SIGCONT)
            await publish(configured, trades(300, start=COUNT // 3 + 1))
            await eventually(lambda: stored(postgres_dsn) == COUNT + 300, what="the last rows")
            assert service.status.state == "storing"
        audit = await run_audit(configured, wait_s=10)
        assert audit.clean, audit.as_json()
    finally:
        zombie.kill()


async def stream(configured, sent):
    """Publish in small steps, so that records flow while things break."""
    async with producing(configured) as producer:
        for start in range(0, len(sent), 100):
            futures = [
                await producer.send(
                    configured.kafka.topic_prefix + "sp500-websocket-trades",
                    codec.encode(record),
                    key=record.symbol.encode(),
                    partition=partition_of(record.pod_index, 3),
                )
                for record in sent[start : start + 100]
            ]
            await asyncio.gather(*futures)


async def test_postgres_killed_while_records_flow(
    own_postgres, redis_url, kafka_server, topic_prefix
):
    """An outage is waited out; a commit whose answer was lost is not repeated."""
    configured = make_settings(
        own_postgres.dsn, redis_url, kafka_server.bootstrap_servers, topic_prefix, batch_rows=500
    )
    sent = trades(COUNT)
    await publish(configured, sent[:100])
    async with consuming(configured) as service:
        streaming = asyncio.create_task(stream(configured, sent[100:]))
        for goal in (2_000, 8_000):
            await eventually(lambda goal=goal: service.status.stored >= goal, what=f"{goal} rows")
            own_postgres.kill()
            await eventually(
                lambda: service.status.state == "waiting for postgres", what="the outage noticed"
            )
            own_postgres.start()
        await streaming
        await check(configured, sent)


async def test_a_connection_ended_in_the_middle_of_a_copy(configured, postgres_dsn):
    """pg_terminate_backend, ten times."""
    sent = trades(COUNT)
    await publish(configured, sent)
    async with consuming(configured):
        with psycopg.connect(postgres_dsn, autocommit=True) as connection:
            for _ in range(10):
                await eventually(
                    lambda: connection.execute(
                        "SELECT bool_or(pg_terminate_backend(pid)) FROM pg_stat_activity "
                        "WHERE application_name = 'ray-pipeline store sp500' "
                        "AND datname = current_database()"
                    ).fetchone()[0],
                    what="a connection to end",
                )
        await check(configured, sent)


async def test_redis_killed_while_records_flow(postgres_dsn, own_redis, kafka_server, topic_prefix):
    """Postgres does not wait for it, and it has everything again afterwards."""
    configured = make_settings(
        postgres_dsn, own_redis.url, kafka_server.bootstrap_servers, topic_prefix, batch_rows=500
    )
    sent = trades(6_000)
    await publish(configured, sent[:3_000])
    async with consuming(configured) as service:
        await wait_stored(postgres_dsn, 3_000)
        own_redis.kill()
        await publish(configured, sent[3_000:])
        await wait_stored(postgres_dsn, 6_000)
        await eventually(
            lambda: service.status.redis_state.startswith("waiting"), what="it noticed"
        )
        own_redis.start()
        await eventually(lambda: service.status.redis_state == "writing", what="Redis back")
        await check(configured, sent)


async def test_redis_does_not_wait_for_postgres(
    postgres_dsn, own_redis, kafka_server, topic_prefix
):
    """A lock holds every row back: the latest values go on, batch after batch."""
    configured = make_settings(
        postgres_dsn, own_redis.url, kafka_server.bootstrap_servers, topic_prefix
    )
    sent = trades(6_000)
    await publish(configured, sent[:3_000])
    with (
        psycopg.connect(postgres_dsn) as connection,
        redis.Redis.from_url(own_redis.url) as client,
    ):
        async with consuming(configured):
            await wait_stored(postgres_dsn, 3_000)
            connection.execute("LOCK TABLE sp500_websocket_trades IN SHARE MODE")
            for start in range(3_000, 6_000, 300):
                await publish(configured, sent[start : start + 300])
                newest = sent[start + 299]
                await eventually(
                    lambda newest=newest: (
                        json.loads(client.get(f"latest:stocks:sp500:{newest.symbol}"))["timestamp"]
                        >= newest.timestamp_ms
                    ),
                    what="the newest trade in Redis",
                )
            assert stored(postgres_dsn) == 3_000
            connection.commit()
            await check(configured, sent)


async def test_redis_that_refuses_writes_is_waited_out(
    postgres_dsn, own_redis, kafka_server, topic_prefix
):
    """Out of memory is an outage too."""
    configured = make_settings(
        postgres_dsn, own_redis.url, kafka_server.bootstrap_servers, topic_prefix
    )
    sent = trades(3_000)
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory", "1")
        await publish(configured, sent)
        async with consuming(configured) as service:
            await wait_stored(postgres_dsn, 3_000)
            await eventually(
                lambda: service.status.redis_state.startswith("waiting"), what="it noticed"
            )
            client.config_set("maxmemory", "0")
            await check(configured, sent)


@pytest.mark.parametrize("loss", ["flushed", "older copy"])
async def test_a_replaced_redis_is_rebuilt_although_the_feed_is_quiet(
    postgres_dsn, own_redis, kafka_server, topic_prefix, loss
):
    """No record arrives after the close of the market, and clients still read the last values."""
    configured = make_settings(
        postgres_dsn, own_redis.url, kafka_server.bootstrap_servers, topic_prefix
    )
    sent = trades(3_000)
    with redis.Redis.from_url(own_redis.url) as client:
        async with consuming(configured) as service:
            await publish(configured, sent[:1_500])
            await wait_stored(postgres_dsn, 1_500)
            await eventually(lambda: client.dbsize() > 30, what="values in Redis")
            copy = {key: client.dump(key) for key in client.scan_iter()}
            await publish(configured, sent[1_500:])
            await check(configured, sent)

            client.flushall()
            if loss == "older copy":
                for key, dump in copy.items():
                    client.restore(key, 600_000, dump)

            await check(configured, sent)
            await eventually(lambda: service.status.redis_state == "writing", what="a rebuild")


async def test_kafka_killed_and_restarted(postgres_dsn, redis_url, own_kafka, topic_prefix):
    """It goes on where it was."""
    configured = make_settings(postgres_dsn, redis_url, own_kafka.bootstrap_servers, topic_prefix)
    sent = trades(6_000)
    await publish(configured, sent[:3_000])
    async with consuming(configured):
        await wait_stored(postgres_dsn, 3_000)
        own_kafka.kill()
        await asyncio.to_thread(own_kafka.start)
        await publish(configured, sent[3_000:])
        await check(configured, sent)


async def test_a_broker_that_lost_its_log(
    postgres_dsn, redis_url, tansu_server, servers, topic_prefix
):
    """Its offsets begin again at 0: nothing is skipped, and what it took with it is in gaps."""
    from ray_pipeline.local.servers import TansuServer

    server = TansuServer(servers("tansu"))
    server.start()
    try:
        configured = make_settings(postgres_dsn, redis_url, server.bootstrap_servers, topic_prefix)
        first, second = trades(300), trades(900, start=101)
        await publish(configured, first)
        async with consuming(configured):
            await wait_stored(postgres_dsn, 300)
        server.kill()
        server.start()
        await publish(configured, second)
        async with consuming(configured):
            await check(configured, first + second)
        kinds = {kind for (kind,) in rows(postgres_dsn, "SELECT kind FROM gaps")}
        assert kinds == {"broker_reset"}
    finally:
        server.stop()

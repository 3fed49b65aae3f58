"""Topics with another number of partitions than the settings name, on a real broker."""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from rich.console import Console
from starlette.requests import Request

from ray_pipeline.actors.desired import desired
from ray_pipeline.api.auth import TokenCheck
from ray_pipeline.cli.tables import render_status
from ray_pipeline.errors import ConfigurationError
from ray_pipeline.feeds import codec
from ray_pipeline.feeds.feed import partition_of
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.feeds.records import Trade
from ray_pipeline.serve.routes import View, routes
from ray_pipeline.settings import Settings
from ray_pipeline.storage.audit_facts import run_audit
from ray_pipeline.storage.doctor_facts import examine
from ray_pipeline.storage.kafka.broker import KafkaBroker
from ray_pipeline.storage.kafka.positions import partition_counts, read_positions
from ray_pipeline.storage.kafka.topics import ensure_topics, topic_name, topics
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.metrics_rows import read_metrics
from ray_pipeline.storage.postgres.status_rows import read_status
from ray_pipeline.storage.spool import open_spool
from ray_pipeline.storage.topic_check import check_topics
from ray_pipeline.stream.outbox import Publisher
from tests.integration.stream.test_outbox_broker import RealClock
from tests.streams import consuming, make_settings, producing, rows, trades, wait_stored
from tests.support import eventually

SP500 = feed_named("sp500")
LOST = 682


@pytest.fixture
def configured(postgres_dsn, redis_url, kafka_bootstrap, topic_prefix) -> Settings:
    return make_settings(postgres_dsn, redis_url, kafka_bootstrap, topic_prefix)


@asynccontextmanager
async def admin_of(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers())
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def create(settings: Settings, partitions: int) -> None:
    async with admin_of(settings) as admin:
        await admin.create_topics([NewTopic(topic_name(settings, SP500), partitions, 1)])
    await ensure_topics(settings.changed(feeds={"sp500": {"partitions": 1}}))


async def grow(settings: Settings, partitions: int) -> None:
    async with admin_of(settings) as admin:
        await admin.create_partitions({topic_name(settings, SP500): NewPartitions(partitions)})


async def spread(settings: Settings, records: Sequence[Trade]) -> None:
    """Publish with Kafka's own partitioner: by key, over every partition that the broker has."""
    async with producing(settings) as producer:
        sent = [
            await producer.send(
                topic_name(settings, SP500), codec.encode(record), key=record.symbol.encode()
            )
            for record in records
        ]
        await asyncio.gather(*sent)


@asynccontextmanager
async def consuming_as_desired(settings: Settings) -> AsyncIterator[None]:
    """Run the consumers that the supervisor would start."""
    async with AsyncExitStack() as stack:
        for actor in desired(settings):
            if actor.kind == "consumer" and actor.arguments[0] == "sp500":
                await stack.enter_async_context(consuming(settings, "sp500", actor.arguments[1]))
        yield


@dataclass(frozen=True)
class Shown:
    """What the status page, `why`, `/ready` and the metrics show."""

    lag: int
    page: str
    why: str
    ready: dict
    metrics: dict


class Reconciling:
    """A supervisor without actors."""

    names = ()
    trouble = ""

    def __init__(self) -> None:
        self.statuses = {}


async def show(settings: Settings) -> Shown:
    await check_topics(settings)

    async def read():
        async with session(settings.postgres_dsn(), name="test") as connection:
            return await read_status(connection, settings, stream_keys={})

    page, bodies = await read(), {}
    view = View(
        read, limit_s=300.0, generation=1, supervisor=Reconciling(), token_check=TokenCheck("token")
    )
    request = Request({"type": "http", "headers": [(b"authorization", b"Bearer token")]})
    for route in routes(lambda: view).routes:
        if route.path != "/live":
            bodies[route.path] = json.loads((await route.endpoint(request)).body)
    console = Console(width=400)
    with console.capture() as printed:
        console.print(render_status(page))
    return Shown(
        lag=page.feeds[0].lag,
        page=printed.get(),
        why=bodies["/why"]["feeds"][0]["why"],
        ready=bodies["/ready"],
        metrics={
            (sample.metric, sample.tags.get("source")): sample.value
            for sample in await read_metrics(settings)
            if sample.tags.get("feed") == "sp500"
        },
    )


async def test_records_in_partitions_that_the_settings_do_not_name_are_stored(configured):
    """Six partitions in the broker, three in the settings: 682 records were never read."""
    await create(configured, 6)
    await spread(configured, trades(LOST))

    async with consuming_as_desired(configured):
        await wait_stored(configured.postgres_dsn(), LOST)
        shown = await show(configured)

    surplus = "has 6 partitions, the settings name 3"
    assert surplus in shown.page
    assert surplus in shown.why
    assert any(surplus in notice for notice in shown.ready["notices"])
    assert shown.metrics["pipeline_topic_partitions", "settings"] == 3
    assert shown.metrics["pipeline_topic_partitions", "broker"] == 6
    verdict = await run_audit(configured)
    assert (verdict.feeds[0].stored, verdict.feeds[0].problems) == (LOST, ())


async def test_records_that_no_consumer_reads_are_counted_and_named(configured):
    """The lag came from the consumers alone, and none of them read these partitions."""
    await create(configured, 6)
    await spread(configured, trades(LOST))

    shown = await show(configured)

    assert shown.lag == LOST
    assert shown.metrics["pipeline_unread_records", None] == LOST
    words = f"{LOST} records of {topic_name(configured, SP500)} wait in partitions without a"
    assert words in shown.page
    assert words in shown.why
    assert any(words in reason for reason in shown.ready["reasons"])
    assert shown.ready["ready"] is False


@dataclass
class Shard:
    """A producer's outbox and what it was given."""

    publisher: Publisher
    count: int = 0

    def put(self, count: int) -> None:
        for _ in range(count):
            trade = Trade(
                f"S{self.publisher.shard_number}{self.count % 5}",
                Decimal("10.5"),
                Decimal(1),
                int(datetime.now(UTC).timestamp() * 1000),
                self.publisher.epoch,
                self.publisher.next_seq(),
                self.publisher.shard_number,
            )
            self.publisher.put(trade.symbol, trade, received_at=datetime.now(UTC))
            self.count += 1


class NumberedPublisher(Publisher):
    """An outbox that names its shard."""

    shard_number = 0


@asynccontextmanager
async def producers(
    settings: Settings, directory: Path, *, shards: Sequence[int], epoch: int
) -> AsyncIterator[dict[int, Shard]]:
    """Run outboxes on one real broker, as the actors wire them."""
    broker, stop = KafkaBroker(settings), asyncio.Event()
    made, tasks = {}, []
    for number in shards:
        spool = open_spool(directory, "sp500", shard=number, limit_bytes=2**24)
        publisher = NumberedPublisher(
            broker,
            spool,
            topic=topic_name(settings, SP500),
            partition=partition_of(number, settings.feeds["sp500"].partitions),
            shard=number,
            epoch=epoch,
            may_send=lambda: True,
            clock=RealClock(),
        )
        publisher.shard_number = number
        made[number] = Shard(publisher)
        tasks.append((asyncio.create_task(publisher.run(stop)), spool))
    try:
        yield made
    finally:
        stop.set()
        for task, spool in tasks:
            await task
            spool.close()
        await broker.close()


async def partitions_of_shards(settings: Settings) -> dict[tuple[int, int], set[int]]:
    """Return the partitions that hold records of each (shard, epoch), and check their order."""
    consumer = AIOKafkaConsumer(
        topic_name(settings, SP500),
        bootstrap_servers=settings.bootstrap_servers(),
        auto_offset_reset="earliest",
    )
    places: dict[tuple[int, int], set[int]] = defaultdict(set)
    numbers: dict[tuple[int, int], list[int]] = defaultdict(list)
    total = sum((await partition_ends(settings)).values())
    await consumer.start()
    try:
        async with asyncio.timeout(60):
            while sum(map(len, numbers.values())) < total:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for record in records:
                        identity = codec.Decoder(Trade).decode(record.value)
                        places[identity.pod_index, identity.epoch].add(record.partition)
                        numbers[identity.pod_index, identity.epoch].append(identity.seq)
    finally:
        await consumer.stop()
    in_order = {key: seqs == list(range(1, len(seqs) + 1)) for key, seqs in numbers.items()}
    assert all(in_order[key] for key, partitions in places.items() if len(partitions) == 1)
    return places


async def partition_ends(settings: Settings) -> dict[int, int]:
    positions = await read_positions(settings, [SP500])
    return {partition: position.end for (_, partition), position in positions.items()}


async def test_a_topic_that_grows_while_producers_run_moves_no_shard_and_loses_nothing(
    configured, tmp_path
):
    """Shard 4 stays in partition 1; with the broker's number it would move to partition 4."""
    await create(configured, 3)
    shards = (1, 2, 3, 4)

    async with (
        consuming_as_desired(configured),
        producers(configured, tmp_path, shards=shards, epoch=1) as running,
    ):
        for shard in running.values():
            shard.put(50)
        await wait_stored(configured.postgres_dsn(), 200)
        await grow(configured, 6)
        for _ in range(5):
            for shard in running.values():
                shard.put(20)
            await asyncio.sleep(0)
        for shard in running.values():
            assert await shard.publisher.drain(30)
        # Another program uses the new partitions.
        await spread(configured, trades(60, epoch=9, shards=2))
        await wait_stored(configured.postgres_dsn(), 660)

    places = await partitions_of_shards(configured)
    assert {shard: places[shard, 1] for shard in shards} == {1: {1}, 2: {2}, 3: {0}, 4: {1}}
    assert rows(configured.postgres_dsn(), "SELECT count(*) FROM gaps") == [(0,)]
    assert (await run_audit(configured)).feeds[0].problems == ()


async def test_shards_move_at_their_next_epoch_when_the_settings_follow_the_topic(
    configured, tmp_path
):
    """Also while records of the earlier epoch still wait in the earlier partition."""
    await create(configured, 3)
    async with producers(configured, tmp_path, shards=(4, 5), epoch=1) as running:
        for shard in running.values():
            shard.put(100)
            assert await shard.publisher.drain(30)

    wider = configured.changed(feeds={"sp500": {"partitions": 6}})
    await ensure_topics(wider)
    async with producers(wider, tmp_path, shards=(4, 5), epoch=2) as running:
        for shard in running.values():
            shard.put(100)
            assert await shard.publisher.drain(30)
        async with consuming_as_desired(wider.changed(streams={"consumers_per_topic": 2})):
            await wait_stored(configured.postgres_dsn(), 400)

    places = await partitions_of_shards(wider)
    assert places == {(4, 1): {1}, (5, 1): {2}, (4, 2): {4}, (5, 2): {5}}
    assert rows(configured.postgres_dsn(), "SELECT count(*) FROM gaps") == [(0,)]
    assert rows(configured.postgres_dsn(), "SELECT count(*) FROM dead_letters") == [(0,)]
    assert (await run_audit(wider)).feeds[0].problems == ()


async def test_a_topic_that_the_broker_created_with_one_partition_is_grown(configured, tmp_path):
    """Until then the records wait on the producer's disk, and every page says why."""
    await create(configured, 1)

    async with (
        consuming_as_desired(configured),
        producers(configured, tmp_path, shards=(1, 3), epoch=1) as running,
    ):
        for shard in running.values():
            shard.put(30)
        await wait_stored(configured.postgres_dsn(), 30)  # shard 3 uses partition 0
        await eventually(
            lambda: "no partition 1" in running[1].publisher.status().cause, what="the cause"
        )
        await check_topics(configured)
        assert (await partition_counts(configured))[topic_name(configured, SP500)] == 3
        await wait_stored(configured.postgres_dsn(), 60)
        assert await running[1].publisher.drain(30)

    assert (await run_audit(configured)).feeds[0].problems == ()


async def test_a_broker_that_refuses_to_grow_a_topic_is_named_everywhere(
    postgres_dsn, redis_url, tansu_server, topic_prefix
):
    """Tansu has no request for new partitions."""
    small = make_settings(postgres_dsn, redis_url, tansu_server.bootstrap_servers, topic_prefix)
    small = small.changed(kafka={"idempotence": False})
    await ensure_topics(small)
    wide = small.changed(feeds={"sp500": {"partitions": 6}})

    with pytest.raises(ConfigurationError, match="refuses to add some") as raised:
        await ensure_topics(wide)
    shown = await show(wide)

    assert "--partitions 6" in raised.value.fix
    words = "has 3 of the 6 partitions that the settings name"
    assert words in shown.page
    assert words in shown.why
    assert any(words in reason for reason in shown.ready["reasons"])
    assert shown.metrics["pipeline_topic_partitions", "broker"] == 3


async def test_every_topic_that_a_broker_refuses_to_grow_is_named(
    postgres_dsn, redis_url, tansu_server, topic_prefix
):
    small = make_settings(postgres_dsn, redis_url, tansu_server.bootstrap_servers, topic_prefix)
    small = small.changed(kafka={"idempotence": False})
    await ensure_topics(small)
    wide = small.changed(feeds={"sp500": {"partitions": 6}, "upbit": {"partitions": 2}})

    with pytest.raises(ConfigurationError) as raised:
        await ensure_topics(wide)

    for topic in (topic_name(wide, feed_named(name)) for name in ("sp500", "upbit")):
        assert f"--topic {topic} " in raised.value.fix
        assert topic in raised.value.args[0]


async def test_the_broker_dates_records_and_doctor_names_topics_without_that(configured, tmp_path):
    """Kafka refuses a record of a producer with a clock that is an hour ahead."""
    await create(configured, 1)
    await ensure_topics(configured)
    async with producing(configured) as producer:
        tomorrow_ms = int(time.time() * 1000) + 86_400_000
        topic = topic_name(configured, feed_named("upbit"))
        await producer.send_and_wait(topic, b"{}", timestamp_ms=tomorrow_ms)

    checks = {check.name: check for check in await examine(configured, home=tmp_path)}
    assert topic_name(configured, SP500) in checks["topic time"].detail
    assert topic not in checks["topic time"].detail
    assert "LogAppendTime" in checks["topic time"].fix


async def test_a_broker_without_the_option_still_gets_its_topics(
    postgres_dsn, redis_url, tansu_server, topic_prefix, tmp_path
):
    small = make_settings(postgres_dsn, redis_url, tansu_server.bootstrap_servers, topic_prefix)
    await ensure_topics(small)
    assert topics(small).items() <= (await partition_counts(small)).items()
    checks = {check.name: check for check in await examine(small, home=tmp_path)}
    assert checks["topic time"].state in ("ok", "info")


async def test_a_topic_that_was_deleted_is_created_again(configured):
    await ensure_topics(configured)
    async with admin_of(configured) as admin:
        await admin.delete_topics([topic_name(configured, SP500)])

    async with asyncio.timeout(30):
        while topic_name(configured, SP500) in await partition_counts(configured):
            pass  # the broker deletes it in the background

    await check_topics(configured)

    assert (await partition_counts(configured))[topic_name(configured, SP500)] == 3

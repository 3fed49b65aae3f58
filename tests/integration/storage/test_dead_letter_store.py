"""Dead letters through a real broker: sent once more, and once only in what it means."""

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from ray_pipeline.errors import BrokerUnavailable, PipelineError
from ray_pipeline.settings import KafkaSettings, PostgresSettings, Settings
from ray_pipeline.storage.dead_letter_store import (
    drop_dead_letters,
    list_dead_letters,
    replay_dead_letters,
)
from ray_pipeline.storage.kafka.topics import ensure_topics
from ray_pipeline.storage.postgres.connection import Connection, session

GOOD = (
    b'{"symbol":"AAPL","price":1.10,"volume":null,"timestamp_ms":1,"epoch":4,"seq":9,"pod_index":3}'
)
PUBLISHED = "SELECT shard, epoch, published FROM producer_epochs ORDER BY 1, 2"


@pytest.fixture
async def settings(postgres_dsn, tansu_server, topic_prefix) -> Settings:
    found = Settings(
        postgres=PostgresSettings(dsn=postgres_dsn),
        kafka=KafkaSettings(
            bootstrap_servers=tansu_server.bootstrap_servers,
            topic_prefix=topic_prefix,
            idempotence=False,
            replication_factor=1,
        ),
    )
    await ensure_topics(found)
    return found


@pytest.fixture
async def database(postgres_dsn):
    async with session(postgres_dsn, name="test") as connection:
        yield connection


async def park(connection: Connection, payload: bytes, *, shard: int | None = 3) -> int:
    """Put a letter in and return its id."""
    cursor = await connection.execute(
        'INSERT INTO dead_letters (feed, topic, partition, "offset", shard, key, payload, reason) '
        "VALUES ('sp500', 't', 0, 0, %s, 'AAPL', %s, 'refused_22003') RETURNING id",
        (shard, payload),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def sent(settings: Settings) -> list[dict[str, object]]:
    """Return what the feed's topic holds, by partition and offset."""
    topic = settings.kafka.topic_prefix + "sp500-websocket-trades"
    places = [TopicPartition(topic, number) for number in range(3)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers(),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        left = sum(ends.values())
        values: list[dict[str, object]] = []
        while len(values) < left:
            for records in (await consumer.getmany(timeout_ms=5000)).values():
                values += [msgspec.json.decode(record.value) for record in records]
    finally:
        await consumer.stop()
    return values


async def states(connection: Connection) -> list[str]:
    return [row.state for row in await list_dead_letters(connection, state=None)]


async def test_a_replayed_letter_leaves_with_a_fresh_identity(settings, database):
    letter = await park(database, GOOD)

    assert await replay_dead_letters(settings, [letter]) == 1

    (record,) = await sent(settings)
    assert (record["pod_index"], record["epoch"], record["seq"]) == (1003, 1, 1)
    assert await states(database) == ["replayed"]
    assert await (await database.execute(PUBLISHED)).fetchall() == [(1003, 1, 1)]


async def test_letters_of_one_shard_are_numbered_without_holes(settings, database):
    letters = [await park(database, GOOD) for _ in range(3)]
    await replay_dead_letters(settings, letters[:2])
    await replay_dead_letters(settings, letters[2:])

    found = [(record["epoch"], record["seq"]) for record in await sent(settings)]

    assert found == [(1, 1), (1, 2), (2, 1)]


async def test_a_replay_that_was_cut_off_repeats_the_same_identity(settings, database):
    """Kafka had acknowledged, our note was lost: the consumer must be able to see the repeat."""
    letter = await park(database, GOOD)
    await replay_dead_letters(settings, [letter])
    await database.execute(
        "UPDATE dead_letters SET state = 'open', "
        "resolution = replace(resolution, 'replayed', 'replaying')"
    )

    await replay_dead_letters(settings, [await park(database, GOOD)])

    found = [(record["epoch"], record["seq"]) for record in await sent(settings)]
    assert found == [(1, 1), (1, 1), (2, 1)]
    assert await states(database) == ["replayed", "replayed"]


async def test_a_letter_stays_open_while_the_broker_is_away(settings, database):
    letter = await park(database, GOOD)
    away = settings.model_copy(update={"kafka": KafkaSettings(bootstrap_servers="127.0.0.1:1")})

    with pytest.raises(BrokerUnavailable):
        await replay_dead_letters(away, [letter])

    assert await states(database) == ["open"]
    with pytest.raises(PipelineError, match="are being replayed"):
        await drop_dead_letters(database, [letter], why="impatience")


async def test_what_is_still_bad_leaves_as_a_reject(settings, database):
    letter = await park(database, b"{not json", shard=None)

    await replay_dead_letters(settings, [letter])

    (record,) = await sent(settings)
    assert (record["kind"], record["pod_index"], record["payload"]) == ("reject", 1000, "{not json")


async def test_a_corrected_payload_takes_the_place_of_the_parked_one(settings, database):
    letter = await park(database, b"{not json")

    await replay_dead_letters(settings, [letter], payload=GOOD)

    (record,) = await sent(settings)
    assert record["symbol"] == "AAPL"


async def test_an_unknown_letter_stops_the_whole_replay(settings, database):
    letter = await park(database, GOOD)

    with pytest.raises(PipelineError, match="no open dead letter 999"):
        await replay_dead_letters(settings, [letter, 999])

    assert await sent(settings) == []
    assert [row.resolution for row in await list_dead_letters(database)] == [""]


async def test_a_dead_letter_of_a_removed_feed_is_refused_and_holds_up_no_other(settings, database):
    """A release without the feed cannot replay it, not even if a replay of it was cut off."""
    removed, cut_off, good = [await park(database, GOOD) for _ in range(3)]
    await database.execute(
        "UPDATE dead_letters SET feed = 'gone' WHERE id = ANY(%s)", ([removed, cut_off],)
    )
    await database.execute(
        "UPDATE dead_letters SET resolution = 'replaying as shard 1003, epoch 1, seq 1' "
        "WHERE id = %s",
        (cut_off,),
    )

    with pytest.raises(PipelineError, match="no feed gone") as raised:
        await replay_dead_letters(settings, [removed, good])
    assert "dlq drop" in raised.value.fix
    assert await states(database) == ["open"] * 3

    assert await replay_dead_letters(settings, [good]) == 1
    assert await states(database) == ["open", "open", "replayed"]

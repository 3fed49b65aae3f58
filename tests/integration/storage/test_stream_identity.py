"""One database stores the topics of one prefix, on a real Postgres."""

import asyncio

import pytest

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.settings import load
from ray_pipeline.storage.audit_facts import run_audit
from ray_pipeline.storage.dead_letter_store import replay_dead_letters
from ray_pipeline.storage.doctor_facts import examine
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.stream_identity import (
    check_topic_prefix,
    record_topic_prefix,
    used_prefixes,
)
from tests.streams import rows

RECORDED = "SELECT topic_prefix FROM stream_identity"


async def record(dsn: str, prefix: str) -> None:
    async with session(dsn, name="test") as connection:
        await record_topic_prefix(connection, prefix)


def store_topics(dsn: str, *topics: str) -> None:
    """Write offsets as a release did that recorded no prefix."""
    for topic in topics:
        rows(
            dsn,
            "INSERT INTO stream_offsets (topic, partition, next_offset) VALUES (%s, 0, 5)"
            " RETURNING 1",
            topic,
        )


async def test_the_first_start_records_the_prefix_and_the_next_ones_accept_it(postgres_dsn):
    await record(postgres_dsn, "a-")
    await record(postgres_dsn, "a-")

    assert rows(postgres_dsn, RECORDED) == [("a-",)]


@pytest.mark.parametrize(("first", "second"), [("a-", "b-"), ("", "b-"), ("a-", "")])
async def test_another_prefix_is_refused_and_both_are_named(postgres_dsn, first, second):
    """The empty prefix is a prefix as well."""
    await record(postgres_dsn, first)

    with pytest.raises(ConfigurationError) as raised:
        await record(postgres_dsn, second)

    assert f"is {second!r}" in str(raised.value)
    assert f"with the prefix {first!r}" in str(raised.value)
    assert f"set PIPELINE_KAFKA__TOPIC_PREFIX={first}" in raised.value.fix
    assert rows(postgres_dsn, RECORDED) == [(first,)]


async def test_of_two_first_starts_with_different_prefixes_one_is_refused(postgres_dsn):
    results = await asyncio.gather(
        *(record(postgres_dsn, prefix) for prefix in ("a-", "b-")), return_exceptions=True
    )

    assert sorted(map(type, results), key=str) == [type(None), ConfigurationError]
    assert len(rows(postgres_dsn, RECORDED)) == 1


async def test_a_database_of_an_earlier_release_keeps_the_prefix_of_its_topics(postgres_dsn):
    store_topics(postgres_dsn, "old-sp500-websocket-trades", "old-bithumb-ticker")

    with pytest.raises(ConfigurationError, match="with the prefix 'old-'"):
        await record(postgres_dsn, "")
    await record(postgres_dsn, "old-")

    assert rows(postgres_dsn, RECORDED) == [("old-",)]


async def test_a_database_that_stored_two_prefixes_accepts_one_of_them_from_now_on(postgres_dsn):
    """Nothing else could be done with it; the other pipeline is refused from then on."""
    store_topics(postgres_dsn, "a-upbit-ticker", "b-upbit-ticker")

    with pytest.raises(ConfigurationError, match="'a-' and 'b-'"):
        await record(postgres_dsn, "c-")
    await record(postgres_dsn, "b-")

    with pytest.raises(ConfigurationError, match="with the prefix 'b-'"):
        await record(postgres_dsn, "a-")


async def test_every_command_that_reads_or_writes_topics_refuses_another_prefix(
    postgres_dsn, redis_url, tmp_path
):
    """They would look at the wrong topics, or publish into them."""
    await record(postgres_dsn, "a-")
    settings = load(
        postgres={"dsn": postgres_dsn},
        redis={"url": redis_url},
        kafka={"bootstrap_servers": "127.0.0.1:1", "topic_prefix": "b-"},
    )

    with pytest.raises(ConfigurationError, match="'a-'"):
        await replay_dead_letters(settings, [1])
    verdict = await run_audit(settings, wait_s=0)
    checks = {check.name: check for check in await examine(settings, home=tmp_path)}

    assert "'a-'" in verdict.problems[0].text
    assert (checks["topic prefix"].state, "'a-'" in checks["topic prefix"].detail) == (
        "failed",
        True,
    )


async def test_a_check_records_nothing(postgres_dsn):
    async with session(postgres_dsn, name="test") as connection:
        await check_topic_prefix(connection, "a-")

    assert rows(postgres_dsn, RECORDED) == []


@pytest.mark.parametrize("feed", FEEDS, ids=lambda feed: feed.name)
def test_the_prefix_is_found_in_the_topic_of_every_feed(feed):
    assert used_prefixes([f"x-{feed.topic}", "unrelated"]) == {"x-"}

"""Why a feed is fresh or not: one sentence for each state."""

from dataclasses import replace

import pytest

from ray_pipeline.observe.freshness import FEED_LAG_LIMIT
from ray_pipeline.observe.status import ConsumerRow, Status
from ray_pipeline.observe.why_feed import explain_feed
from tests.unit.observe.test_status import ROW, SHARD

CUT = replace(SHARD, connected=False, cause="429 Too Many Requests")
OTHER_FEED = replace(CUT, feed="bithumb", cause="maintenance")
CONSUMER = ConsumerRow(
    "test.sp500-websocket-trades", 1, "a", "storing", "", 0, 0, 0, "writing", heartbeat_age_s=1.0
)


def page(shards, *, consumers=(), database=""):
    """A status page with these producers and consumers."""
    return Status((ROW,), tuple(shards), tuple(consumers), (), (), database=database)


@pytest.mark.parametrize(
    ("changes", "shards", "sentence"),
    [
        (
            {"last_record_age_s": None},
            [],
            "sp500 has never stored a record: no producer has run; start `ray-pipeline up`.",
        ),
        (
            {"last_record_age_s": None},
            [CUT, OTHER_FEED],
            "sp500 has never stored a record: 429 Too Many Requests.",
        ),
        (
            {"lag": FEED_LAG_LIMIT + 1, "last_record_age_s": 300.0},
            [SHARD],
            "sp500 is behind: 10,001 records wait in Kafka; the newest that is stored came "
            "5 min ago.",
        ),
        (
            {"last_record_age_s": 300.0},
            [SHARD],
            "sp500 has stored nothing for 5 min: its producers are connected; the market may be "
            "closed.",
        ),
        (
            {"last_record_age_s": 300.0},
            [CUT, CUT],
            "sp500 has stored nothing for 5 min: 429 Too Many Requests.",
        ),
    ],
)
def test_a_feed_that_is_not_fresh_names_its_cause(changes, shards, sentence):
    """The cause of its own shards, each once."""
    explanation = explain_feed(replace(ROW, **changes), page(shards))

    assert not explanation.fresh
    assert explanation.sentence == sentence


@pytest.mark.parametrize(
    ("shards", "end"), [([SHARD], "."), ([SHARD, CUT], "; 429 Too Many Requests.")]
)
def test_a_fresh_feed_still_names_a_shard_in_trouble(shards, end):
    """Data arrives, but not for every symbol."""
    explanation = explain_feed(ROW, page(shards))

    assert explanation.fresh
    assert explanation.sentence == (
        "sp500 is fresh: its newest record came 0.5 s ago, 2 of 2 symbols, "
        f"0 records on their way{end}"
    )


def test_a_shortened_retention_is_part_of_the_sentence():
    """The feed is fresh all the same: Postgres has everything, and Redis the latest values."""
    row = replace(
        ROW, redis_retention_s=9_000.0, redis_shortened="all feeds share 2 MB; raise the budget"
    )

    explanation = explain_feed(row, page([SHARD]))

    assert explanation.fresh
    assert explanation.sentence.endswith(
        "; in Redis, its retention is shortened to 2 h because all feeds share 2 MB; raise the "
        "budget."
    )


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        (
            {"state": "waiting for postgres", "cause": "permission denied (SQLSTATE 42501)"},
            "the consumer of partition 1 is waiting for postgres: permission denied "
            "(SQLSTATE 42501)",
        ),
        (
            {"heartbeat_age_s": 20.0},
            "the consumer of partition 1 has written no heartbeat for 20 s",
        ),
    ],
)
def test_a_consumer_that_does_not_store_is_named_with_its_cause(changes, cause):
    """Data arrives in Kafka, and stays there."""
    behind = replace(ROW, lag=FEED_LAG_LIMIT + 1, last_record_age_s=300.0)
    consumers = [replace(CONSUMER, **changes), replace(CONSUMER, topic="bithumb-ticker", state="x")]

    sentence = explain_feed(behind, page([SHARD], consumers=consumers)).sentence

    assert sentence.endswith(f"came 5 min ago: {cause}.")


def test_a_read_only_database_is_named_first():
    """The heartbeats of consumers and producers cannot be written either."""
    quiet = replace(ROW, last_record_age_s=300.0)
    consumers = [replace(CONSUMER, heartbeat_age_s=20.0)]

    sentence = explain_feed(quiet, page([CUT], consumers=consumers, database="read-only")).sentence

    assert sentence == (
        "sp500 has stored nothing for 5 min: read-only; the consumer of partition 1 has written no "
        "heartbeat for 20 s; 429 Too Many Requests."
    )

"""Why a feed is fresh or not: one sentence for each state."""

from dataclasses import replace

import pytest

from ray_pipeline.observe.freshness import FEED_LAG_LIMIT
from ray_pipeline.observe.why_feed import explain_feed
from tests.unit.observe.test_status import ROW, SHARD

CUT = replace(SHARD, connected=False, cause="429 Too Many Requests")
OTHER_FEED = replace(CUT, feed="bithumb", cause="maintenance")


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
    explanation = explain_feed(replace(ROW, **changes), shards)

    assert not explanation.fresh
    assert explanation.sentence == sentence


@pytest.mark.parametrize(
    ("shards", "end"), [([SHARD], "."), ([SHARD, CUT], "; 429 Too Many Requests.")]
)
def test_a_fresh_feed_still_names_a_shard_in_trouble(shards, end):
    """Data arrives, but not for every symbol."""
    explanation = explain_feed(ROW, shards)

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

    explanation = explain_feed(row, [SHARD])

    assert explanation.fresh
    assert explanation.sentence.endswith(
        "; in Redis, its retention is shortened to 2 h because all feeds share 2 MB; raise the "
        "budget."
    )

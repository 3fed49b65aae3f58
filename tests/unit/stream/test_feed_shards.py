"""Which connections the shipped feeds have with the default settings, and which of them collect."""

import pytest

from ray_pipeline.errors import PipelineError
from ray_pipeline.feeds.feed_registry import FEEDS, feed_named
from ray_pipeline.observe.status import Assignments, uncovered
from ray_pipeline.settings import Settings, load
from ray_pipeline.stream.feed_shards import key_of, key_plan, no_key, shards_of


def settings(keys: int) -> Settings:
    return load(api_keys={"finnhub": [f"key {number}" for number in range(1, keys + 1)]})


def collecting(configured: Settings, name: str) -> list[int]:
    feed = feed_named(name)
    return [shard for shard in shards_of(configured, feed) if key_of(configured, feed, shard)]


@pytest.mark.parametrize(
    ("keys", "sp500", "top_gainers", "etf"),
    [
        (0, 0, [], []),
        (1, 1, [], []),
        (2, 2, [], []),
        (10, 10, [], []),
        (11, 10, [0], []),
        (12, 10, [0], [1]),
        (13, 11, [0], [1]),
    ],
)
def test_the_keys_go_to_the_feeds_by_rank(keys, sp500, top_gainers, etf):
    """A key beyond the configured connections adds a connection to the S&P 500."""
    configured = settings(keys)

    assert collecting(configured, "sp500") == list(range(1, sp500 + 1))
    assert collecting(configured, "top_gainers") == top_gainers
    assert collecting(configured, "etf") == etf


@pytest.mark.parametrize("keys", [0, 1, 2, 10, 11, 12, 13])
def test_every_connection_without_a_key_can_say_why(keys):
    """Its symbols are not covered; the reason names the number of keys and who comes first."""
    configured = settings(keys)
    for feed in FEEDS:
        idle = [s for s in shards_of(configured, feed) if key_of(configured, feed, s) is None]
        for shard in idle:
            assert f"PIPELINE_API_KEYS has {keys} for finnhub" in no_key(configured, feed)
            assigned = Assignments(feed.name, {shard: ("A",)})
            (row,) = uncovered(assigned, [], plan=key_plan(configured, "finnhub"))
            assert f"no API key: {keys} set" in row.why


def test_a_feed_that_needs_no_key_collects_without_one():
    assert [shards_of(settings(0), feed_named(name)) for name in ("bithumb", "upbit")] == [(0,)] * 2
    assert key_of(settings(0), feed_named("upbit"), 0) == ""


def test_a_shard_that_is_not_configured_has_no_key():
    with pytest.raises(PipelineError, match="etf has no shard 2"):
        key_of(settings(20), feed_named("etf"), 2)

"""Which connection receives which key."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.errors import PipelineError
from ray_pipeline.feeds.feed import Sharding
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.feeds.key_plan import plan_keys

GROWING = replace(feed_named("sp500"), name="growing")
SINGLE = replace(feed_named("top_gainers"), name="single")
FIXED = replace(feed_named("sp500"), name="fixed", sharding=Sharding(1, 50))
FEEDS = (GROWING, SINGLE, FIXED)
SHARDS = {"growing": 2, "fixed": 1}


def test_keys_go_to_the_feeds_by_rank_and_then_to_the_feed_that_grows():
    """The additional shard of the growing feed comes last, so it moves no other connection."""
    plan = plan_keys(FEEDS, SHARDS, keys=5)

    assert plan.connections == (
        ("growing", 1), ("growing", 2), ("single", 0), ("fixed", 1), ("growing", 3),
    )  # fmt: skip
    assert plan.shards("growing") == (1, 2, 3)


def test_a_connection_past_the_keys_exists_but_has_no_key():
    """Its producer reports that a key is missing."""
    plan = plan_keys(FEEDS, SHARDS, keys=2)

    assert plan.position("growing", 2) == 1
    assert plan.position("single", 0) is None


def test_a_shard_that_the_plan_does_not_contain_is_an_error():
    """It must not receive the key of another connection."""
    plan = plan_keys(FEEDS, SHARDS, keys=9)

    with pytest.raises(PipelineError, match=r"fixed has no shard 0.*\n?.*1"):
        plan.position("fixed", 0)


@given(keys=st.integers(0, 12), shards=st.integers(1, 4))
def test_no_key_serves_two_connections_and_none_is_left_unused(keys, shards):
    """A venue refuses the second connection of a key."""
    plan = plan_keys(FEEDS, SHARDS | {"growing": shards}, keys=keys)

    positions = [plan.position(*connection) for connection in plan.connections]
    assert sorted(p for p in positions if p is not None) == list(range(keys))


@given(keys=st.integers(0, 12))
def test_another_key_moves_no_connection(keys):
    before = plan_keys(FEEDS, SHARDS, keys=keys)
    after = plan_keys(FEEDS, SHARDS, keys=keys + 1)

    for connection in before.connections:
        position = before.position(*connection)
        assert position is None or after.position(*connection) == position

"""The partitions over which a replay spreads the shards."""

import pytest

from ray_pipeline.errors import BrokerUnavailable, ConfigurationError
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.settings import load
from ray_pipeline.storage.kafka.replaying_producer import replay_partitions

SP500 = feed_named("sp500")


@pytest.mark.parametrize("present", [3, 6])
def test_the_settings_decide_as_they_do_for_producers(present):
    """The broker's number would send a replayed shard to another partition than the live one."""
    assert replay_partitions(load(), SP500, {SP500.topic: present}) == 3


@pytest.mark.parametrize("counts", [{}, {SP500.topic: 1}])
def test_a_topic_with_fewer_partitions_is_an_error_before_anything_is_sent(counts):
    with pytest.raises(BrokerUnavailable, match=SP500.topic):
        replay_partitions(load(), SP500, counts)


def test_a_disabled_feed_takes_no_replay():
    """Its topic has no consumer: the records would wait there."""
    settings = load(feeds={"sp500": {"enabled": False}})

    with pytest.raises(ConfigurationError, match="sp500 is disabled by setting"):
        replay_partitions(settings, SP500, {SP500.topic: 3})

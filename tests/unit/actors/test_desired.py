"""The actors that the settings ask for."""

from ray_pipeline.actors.desired import desired
from ray_pipeline.feeds.feed_registry import FEEDS, feed_named
from ray_pipeline.settings import load
from ray_pipeline.stream.feed_shards import key_of


def test_every_feed_has_producers_and_consumers():
    """Producers first: until they run, data is lost."""
    names = [actor.name for actor in desired(load(feeds={"sp500": {"shards": 2}}))]

    assert [name for name in names if "sp500" in name] == [
        "producer-sp500-01-g1", "producer-sp500-02-g1", "consumer-sp500-0-g1",
    ]  # fmt: skip
    assert "producer-bithumb-g1" in names
    for feed in FEEDS:
        assert any(name.startswith(f"consumer-{feed.name}-") for name in names)
        assert any(name.startswith(f"producer-{feed.name}-") for name in names)


def test_spare_keys_add_shards_to_the_feed_that_grows():
    keys = [f"key {number}" for number in range(30)]
    settings = load(feeds={"sp500": {"shards": 1}}, api_keys={"finnhub": keys})
    configured = load(feeds={"sp500": {"shards": 1}})

    def producers(actors) -> int:
        return sum(actor.arguments[:1] == ("sp500",) for actor in actors if "prod" in actor.name)

    others = sum(feed.key_provider == "finnhub" for feed in FEEDS) - 1
    assert producers(desired(configured)) == 1
    assert producers(desired(settings)) == 30 - others


def test_each_partition_has_one_consumer():
    settings = load(streams={"consumers_per_topic": 2})
    actors = [actor for actor in desired(settings) if actor.kind == "consumer"]

    for feed in FEEDS:
        partitions = [n for actor in actors if actor.arguments[0] == feed.name
                      for n in actor.arguments[1]]  # fmt: skip
        assert sorted(partitions) == list(range(feed.partitions))


def test_a_disabled_feed_has_no_actors_and_leaves_its_keys_to_others():
    keys = {"finnhub": ["key 1", "key 2"]}
    settings = load(
        feeds={"sp500": {"enabled": False}, "bithumb": {"enabled": False}}, api_keys=keys
    )

    names = [actor.name for actor in desired(settings)]

    assert not [name for name in names if "sp500" in name or "bithumb" in name]
    assert "producer-upbit-g1" in names
    assert key_of(settings, feed_named("top_gainers"), 0) == "key 1"

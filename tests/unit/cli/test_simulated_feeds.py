"""Which feeds `up` and `demo` simulate."""

from ray_pipeline.cli.simulated_feeds import feeds_to_simulate
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.settings import load


def test_a_demo_simulates_every_enabled_feed():
    disabled = load(feeds={"upbit": {"enabled": False}})

    assert feeds_to_simulate(load(), demo=True) == list(FEEDS)
    names = [feed.name for feed in feeds_to_simulate(disabled, demo=True)]
    assert names == [feed.name for feed in FEEDS if feed.name != "upbit"]


def test_without_a_key_the_enabled_feeds_without_an_address_are_simulated():
    settings = load(feeds={"upbit": {"enabled": False}}, bithumb={"ws_url": "ws://venue"})

    names = {feed.name for feed in feeds_to_simulate(settings, demo=False)}

    assert names == {feed.name for feed in FEEDS} - {"upbit", "bithumb"}


def test_with_a_key_nothing_is_simulated():
    assert feeds_to_simulate(load(api_keys={"finnhub": ["key"]}), demo=False) == []

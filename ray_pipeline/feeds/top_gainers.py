"""Trades of the day's top movers from Finnhub: one connection, symbols from `top_gainers`."""

from ray_pipeline.feeds.feed import FeedSpec

SPEC = FeedSpec(
    name="top_gainers",
    topic="finnhub-trades",
    table="finnhub_trades",
    redis_prefix="stocks:topgainers",
    redis_hash=None,
    channel=None,
    partitions_setting="top_gainers_partitions",
    venue="XNYS",
)

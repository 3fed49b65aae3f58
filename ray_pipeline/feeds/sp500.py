"""S&P 500 trades from Finnhub: one connection and key a shard, at most 50 symbols each."""

from ray_pipeline.feeds.feed import FeedSpec

SPEC = FeedSpec(
    name="sp500",
    topic="sp500-websocket-trades",
    table="sp500_websocket_trades",
    redis_prefix="stocks:sp500",
    redis_hash="sp500_realtime_data",
    channel="sp500_updates",
    partitions_setting="sp500_partitions",
    venue="XNYS",
)

"""Why a feed is fresh or not: one sentence."""

from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.observe.freshness import age, feed_state
from ray_pipeline.observe.status import FeedRow, Status
from ray_pipeline.observe.why import Explanation

SHOWN_CAUSES = 3


def explain_feed(row: FeedRow, page: Status) -> Explanation:
    """Explain the state of a feed on the status page."""
    if not row.enabled:
        variable = f"PIPELINE_FEEDS__{row.feed.upper()}__ENABLED=false"
        return Explanation(row.feed, True, f"{row.feed} is disabled by setting: {variable}.")
    producers = {shard.remark for shard in page.shards if shard.feed == row.feed}
    # Topics may have a prefix.
    name = feed_named(row.feed).topic
    consumers = {consumer.trouble for consumer in page.consumers if consumer.topic.endswith(name)}
    # What hinders the database comes first, because it hinders the consumers and producers, too.
    causes = [page.database, *sorted(consumers), *sorted(producers)]
    cause = "; ".join([text for text in causes if text][:SHOWN_CAUSES])
    newest = age(row.last_record_age_s)
    match state := feed_state(newest_age_s=row.last_record_age_s, lag=row.lag):
        case "empty":
            text = (
                "has never stored a record: "
                f"{cause or 'no producer has run; start `ray-pipeline up`'}"
            )
        case "behind":
            text = (
                f"is behind: {row.lag:,} records wait in Kafka; the newest that is stored came "
                f"{newest} ago{cause and f': {cause}'}"
            )
        case "quiet":
            cause = cause or "its producers are connected; the market may be closed"
            text = f"has stored nothing for {newest}: {cause}"
        case "fresh":
            text = (
                f"is fresh: its newest record came {newest} ago, "
                f"{row.symbols_confirmed} of {row.symbols_wanted} symbols, "
                f"{row.lag:,} records on their way{cause and f'; {cause}'}"
            )
    topic = next((topic for topic in page.topics if topic.feed == row.feed), None)
    trouble, notice = (topic.trouble, topic.notice) if topic else ("", "")
    parts = (f"{row.feed} {text}", trouble, notice, _retention(row))
    sentence = "; ".join(filter(None, parts))
    return Explanation(row.feed, state == "fresh" and not trouble, f"{sentence}.")


def _retention(row: FeedRow) -> str:
    """Return why Redis keeps single seconds for less than configured; empty if it does not."""
    if not row.redis_shortened:
        return ""
    return (
        f"in Redis, its retention is shortened to {age(row.redis_retention_s)} because "
        f"{row.redis_shortened}"
    )

"""The section of each feed. Its defaults come from the feed."""

from typing import Any

from pydantic import Field, create_model

from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.settings.sections import Seconds, Section


class FeedSettings(Section):
    """
    How one feed runs. `_feed_section` declares which of these values a feed has.

    Attributes:
        partitions: Partitions of the topic.
        ttl_s: Time to live of the latest values in Redis.
        shards: Configured connections of a feed with sharding.
        symbols_per_connection: Limit of a connection of a feed with sharding.
        poll_s: Pause between two rounds over REST.
    """

    partitions: int
    ttl_s: int
    shards: int = 1
    symbols_per_connection: int = 1
    poll_s: float = 1.0


def _feed_section(feed: Feed) -> type[Section]:
    """Return the section of a feed; the defaults come from the feed."""
    fields: dict[str, Any] = {
        "partitions": (
            int,
            Field(feed.partitions, ge=1, description=f"Partitions of {feed.topic}."),
        ),
        "ttl_s": (
            int,
            Field(feed.redis.ttl_s, ge=1, description="Time to live of its values in Redis."),
        ),
    }
    if feed.sharding is not None:
        fields["shards"] = (
            int,
            Field(feed.sharding.shards, ge=1, description="Connections, one per API key."),
        )
        fields["symbols_per_connection"] = (
            int,
            Field(
                feed.sharding.symbols_per_connection,
                ge=1,
                description=f"Limit of {feed.protocol.title}'s plan.",
            ),
        )
    if feed.protocol.poll is not None:
        fields["poll_s"] = (
            Seconds,
            Field(
                feed.protocol.poll.pause_s,
                description="Pause between REST rounds while the WebSocket is down.",
            ),
        )
    section: type[Section] = create_model(feed.name, __base__=Section, **fields)
    return section


def feed_sections() -> type[Section]:
    """Return the section `feeds`, which holds a section per feed."""
    fields: dict[str, Any] = {}
    for feed in FEEDS:
        section = _feed_section(feed)
        fields[feed.name] = (section, section())
    model: type[Section] = create_model("feeds", __base__=Section, **fields)
    return model


def feed_settings(sections: Section) -> dict[str, FeedSettings]:
    return {feed.name: FeedSettings(**getattr(sections, feed.name).model_dump()) for feed in FEEDS}

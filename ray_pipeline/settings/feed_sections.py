"""The section of each feed. Its defaults come from the feed."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, create_model

from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.settings.sections import Seconds, Section
from ray_pipeline.settings.variables import explicit


class FeedSettings(Section):
    """
    How one feed runs. `_feed_section` declares which of these values a feed has.

    Attributes:
        enabled: Whether the feed is collected and stored.
        partitions: Partitions of the topic.
        ttl_s: Time to live of the latest values in Redis.
        shards: Configured connections of a feed with sharding.
        symbols_per_connection: Limit of a connection of a feed with sharding.
        poll_s: Pause between two rounds over REST.
    """

    enabled: bool = True
    partitions: int
    ttl_s: int
    shards: int = 1
    symbols_per_connection: int = 1
    poll_s: float = 1.0


def _feed_section(feed: Feed) -> type[Section]:
    """Return the section of a feed; the defaults come from the feed."""
    fields: dict[str, Any] = {
        "enabled": (bool, Field(True, description=f"Collect and store {feed.name}.")),
        "partitions": (
            int,
            Field(feed.partitions, ge=1, description=f"Partitions of {feed.topic} to write to."),
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


def changed_feeds(
    current: Mapping[str, FeedSettings], changes: Mapping[str, Mapping[str, object]]
) -> dict[str, FeedSettings]:
    """
    Return the sections of all feeds with other values in some of them.

    Raises:
        ValidationError: If a feed or one of its settings is unknown, or a value is invalid.
    """
    # The sections that a variable reaches, because they hold the limits, and they know which
    # settings a feed has.
    values = {name: dict(explicit(section)) for name, section in current.items()}
    for name, change in changes.items():
        values[name] = values.get(name, {}) | dict(change)
    return feed_settings(feed_sections()(**values))


def feed_settings(sections: Section) -> dict[str, FeedSettings]:
    return {feed.name: FeedSettings(**getattr(sections, feed.name).model_dump()) for feed in FEEDS}

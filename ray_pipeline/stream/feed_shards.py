"""The connections of a feed and their API keys, by the settings."""

from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.feeds.key_plan import SINGLE, KeyPlan, plan_keys
from ray_pipeline.settings import Settings


def key_providers() -> tuple[str, ...]:
    """Return the providers with API keys for feeds, sorted."""
    return tuple(sorted({feed.key_provider for feed in FEEDS if feed.key_provider}))


def feeds_with_keys(provider: str) -> tuple[Feed, ...]:
    """Return the feeds that use the keys of a provider, by rank."""
    return tuple(feed for feed in FEEDS if feed.key_provider == provider)


def key_plan(settings: Settings, provider: str, *, keys: int | None = None) -> KeyPlan:
    """Return which connection uses which key; `keys` replaces the number of configured keys."""
    count = len(settings.stream_keys(provider)) if keys is None else keys
    shards = {name: section.shards for name, section in settings.feeds.items()}
    # A disabled feed holds no key: the others may use all of them.
    feeds = [feed for feed in feeds_with_keys(provider) if settings.feeds[feed.name].enabled]
    return plan_keys(feeds, shards, keys=count)


def shards_of(settings: Settings, feed: Feed) -> tuple[int, ...]:
    """Return the numbers of a feed's connections, including those without a key."""
    if feed.key_provider is not None:
        return key_plan(settings, feed.key_provider).shards(feed.name)
    if feed.sharding is None:
        return SINGLE
    return tuple(range(1, settings.feeds[feed.name].shards + 1))


def key_of(settings: Settings, feed: Feed, shard: int) -> str | None:
    """
    Return the key of a connection: empty if the venue needs none, None if no key is left.

    Raises:
        PipelineError: If the feed has no such shard.
    """
    if feed.key_provider is None:
        return ""
    position = key_plan(settings, feed.key_provider).position(feed.name, shard)
    return None if position is None else settings.stream_keys(feed.key_provider)[position]


def no_key(settings: Settings, feed: Feed) -> str:
    """Return why a connection of a feed does not collect if no key is left for it."""
    provider = feed.key_provider or ""
    count = len(settings.stream_keys(provider))
    earlier = [other.name for other in feeds_with_keys(provider) if other.rank < feed.rank]
    used = f", which {' and '.join(earlier)} may use first" if earlier and count else ""
    return (
        f"no key: PIPELINE_API_KEYS has {count} for {provider}, one a connection{used}; "
        "add another to collect these symbols"
    )

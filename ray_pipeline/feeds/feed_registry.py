"""Every feed: each module of `feeds` with a `FEED`."""

from collections.abc import Sequence

from ray_pipeline import feeds
from ray_pipeline.discovery import discover
from ray_pipeline.errors import PipelineError
from ray_pipeline.feeds.feed import Feed


def _by_rank(discovered: Sequence[Feed]) -> tuple[Feed, ...]:
    """
    Return the feeds by rank.

    Raises:
        PipelineError: If two feeds share a value that identifies them or their data.
    """
    for attribute in ("rank", "topic", "table"):
        owners: dict[object, str] = {}
        for feed in discovered:
            owner = owners.setdefault(getattr(feed, attribute), feed.name)
            if owner != feed.name:
                raise PipelineError(
                    f"the feeds {owner} and {feed.name} have the same {attribute}",
                    fix=f"change it in ray_pipeline/feeds/{feed.name}.py",
                )
    return tuple(sorted(discovered, key=lambda feed: feed.rank))


FEEDS: tuple[Feed, ...] = _by_rank(
    discover(feeds, "FEED", Feed, skip=feeds.SHARED_MODULES, guide='CONTRIBUTING.md, "Add a venue"')
)
_BY_NAME = {feed.name: feed for feed in FEEDS}


def feed_named(name: str) -> Feed:
    """
    Return the feed called `name`.

    Raises:
        KeyError: If it does not exist.
    """
    return _BY_NAME[name]

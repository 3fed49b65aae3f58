"""Every feed there is, found by convention: one module in `feeds` with a `SPEC` each."""

from ray_pipeline.feed import FeedSpec
from ray_pipeline.feeds import bithumb, sp500, top_gainers

FEEDS: tuple[FeedSpec, ...] = (sp500.SPEC, bithumb.SPEC, top_gainers.SPEC)


def feed(name: str) -> FeedSpec:
    """
    Return the feed called `name`.

    Raises:
        KeyError: If there is none.
    """
    by_name: dict[str, FeedSpec] = {spec.name: spec for spec in FEEDS}
    return by_name[name]

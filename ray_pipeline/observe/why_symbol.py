"""Why a symbol's data is fresh or not: one sentence for each feed that lists the symbol."""

from dataclasses import dataclass

from ray_pipeline.observe.freshness import age
from ray_pipeline.observe.status import Status
from ray_pipeline.observe.why import Explanation


@dataclass(frozen=True, slots=True)
class ListedSymbol:
    """
    A symbol that a feed is to collect.

    Attributes:
        age_s: Seconds since its newest record was received; None before the first one.
    """

    feed: str
    symbol: str
    age_s: float | None


def explain_symbol(listed: ListedSymbol, feed: Explanation, page: Status) -> Explanation:
    """Explain the state of a symbol, given that of its feed and the status page."""
    name = f"{listed.symbol} of {listed.feed}"
    for row in page.uncovered:
        if row.feed == listed.feed and listed.symbol in row.symbols:
            return Explanation(name, False, f"{name} is not collected: {row.why}.")
    newest = (
        "no record of it is stored"
        if listed.age_s is None
        else f"its newest record came {age(listed.age_s)} ago"
    )
    fresh = feed.fresh and listed.age_s is not None
    return Explanation(name, fresh, f"{name} is collected: {newest}; {feed.sentence}")

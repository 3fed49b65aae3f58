"""Short names of actors: `producer-sp500-01-g1` is `sp500-01` to a person."""

import re
from collections.abc import Iterable

NAME = re.compile(r"(?P<kind>[a-z]+)-(?P<label>.+)-g(?P<generation>\d+)")


def labels(names: Iterable[str]) -> dict[str, str]:
    """
    Return the actors' names by their labels, in order.

    Where two releases are there at once, the newer one has the label, and the older keeps its
    generation behind it.
    """
    found: dict[str, str] = {}
    parsed = [(match, name) for name in names if (match := NAME.fullmatch(name))]
    for match, name in sorted(parsed, key=lambda one: -int(one[0]["generation"])):
        label = match["label"]
        found[label if label not in found else f"{label}-g{match['generation']}"] = name
    return dict(sorted(found.items()))

"""Short names of actors, such as `sp500-01` for `producer-sp500-01-g1`."""

import re
from collections.abc import Iterable

NAME = re.compile(r"(?P<kind>[a-z]+)-(?P<label>.+?)(?:-moved)?-g(?P<generation>\d+)")


def labels(names: Iterable[str]) -> dict[str, str]:
    """
    Return the actors' names by their labels, in order.

    During a handover two generations of an actor live. The newer one gets the label, and the older
    one the label with its generation.
    """
    by_label: dict[str, str] = {}
    parsed = [(match, name) for name in names if (match := NAME.fullmatch(name))]
    # The newest generation first: it takes the short name before an older one can.
    for match, name in sorted(parsed, key=lambda pair: -int(pair[0]["generation"])):
        label = match["label"]
        by_label[label if label not in by_label else f"{label}-g{match['generation']}"] = name
    return dict(sorted(by_label.items()))

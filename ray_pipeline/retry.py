"""How long to wait before trying again."""

from random import Random

GROWTH_LIMIT = 64  # doublings; past it every cap is reached, and a float would overflow


class Backoff:
    """
    Full jitter: a random wait below a bound that doubles with every failure.

    It never gives up. Reset it by data, not by a connection: a server that accepts and closes
    would otherwise be called at full speed.
    """

    def __init__(self, *, base_s: float, cap_s: float, random: Random) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self._random = random
        self._failures = 0

    def next_s(self) -> float:
        """Count a failure and return the seconds to wait after it."""
        bound_s = min(self._cap_s, self._base_s * 2.0 ** min(self._failures, GROWTH_LIMIT))
        self._failures += 1
        return self._random.uniform(0.0, bound_s)

    def reset(self) -> None:
        """Forget the failures: data arrived."""
        self._failures = 0

"""Stop calling a provider that fails for one item after the other."""


class CircuitOpen(Exception):
    """The provider failed for too many items in a row; further calls would be wasted."""


class CircuitBreaker:
    """
    Counts items that failed in a row.

    One failed item may be the item's fault. Several in a row are the provider's: each further item
    would cost several attempts of a scarce quota and fail as well.
    """

    def __init__(self, limit: int) -> None:
        """Open after `limit` failures in a row."""
        self._limit = limit
        self._failures = 0

    def record(self, *, failed: bool) -> None:
        """Count a failure; a success resets the count."""
        self._failures = self._failures + 1 if failed else 0

    def check(self, provider: str, reason: str) -> None:
        """
        Return if the provider may be called.

        Raises:
            CircuitOpen: If it failed too often; the message names the provider and the reason.
        """
        if self._failures >= self._limit:
            raise CircuitOpen(f"{provider} fails for every item: {reason}")

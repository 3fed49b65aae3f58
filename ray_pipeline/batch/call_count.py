"""Count the calls of a run when they are made, so that a run that ends early counts them too."""

from collections.abc import Iterator
from contextlib import contextmanager


class CallCount:
    """
    The calls of one process for one run.

    Attributes:
        total: Calls that were made.
    """

    def __init__(self) -> None:
        """Start at 0."""
        self.total = 0
        self._unstored = 0

    def add(self) -> None:
        """Count a call."""
        self.total += 1
        self._unstored += 1

    @contextmanager
    def unstored(self) -> Iterator[int]:
        """
        Return how many calls are not stored yet, for a block that stores them.

        Two transactions of a run may overlap, so the calls belong to this block from its beginning.
        If it fails, the next block stores them.
        """
        calls, self._unstored = self._unstored, 0
        try:
            yield calls
        except BaseException:
            self._unstored += calls
            raise

"""Which partitions a consumer stores, and its limits."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConsumerAssignment:
    """
    The partitions that a consumer stores, and its limits; `holder` names it in its leases.

    Attributes:
        partitions: The numbers below `configured` that this consumer stores. The consumer of
            partition 0 stores every further partition of the topic, too.
        configured: How many partitions the settings name.
    """

    topic: str
    partitions: Sequence[int]
    configured: int
    holder: str
    generation: int
    lease_ttl_s: float
    batch_rows: int
    future_tolerance_ms: int
    drain_s: float

    def in_topic(self, present: Sequence[int]) -> list[int]:
        """
        Return the partitions to store out of those that the topic has.

        Producers use the configured partitions only. The others hold the records of other programs,
        and of this one under earlier settings: they are stored like the rest.
        """
        further = [number for number in present if number >= self.configured]
        assigned = [number for number in self.partitions if number in present]
        return assigned + (further if 0 in self.partitions else [])

    def lack(self, present: Sequence[int]) -> str:
        """Return that the topic has none of the partitions to store."""
        numbers = ", ".join(map(str, self.partitions))
        return (
            f"topic {self.topic} has {len(present)} of {self.configured} partitions, and none of "
            f"this consumer's: {numbers}"
        )

"""Records that were dropped because memory and disk were full, and the gap that reports them."""

from dataclasses import dataclass
from datetime import datetime

from ray_pipeline.feeds.records import Gap


@dataclass(slots=True)
class UnkeptRecords:
    """
    Records that were dropped one after the other.

    Attributes:
        cause: Why the first of them did not fit.
    """

    from_at: datetime
    to_at: datetime
    cause: str
    count: int = 0

    def add(self, received_at: datetime) -> None:
        """Note one more."""
        self.to_at = max(self.to_at, received_at)
        self.count += 1

    def gap(self, *, epoch: int, seq: int, shard: int, now: datetime) -> Gap:
        """Return the record that takes the position of the dropped ones."""
        return Gap(
            epoch=epoch,
            seq=seq,
            pod_index=shard,
            gap_kind="spool_full",
            cause=f"{self.count} records were not kept: {self.cause}",
            from_at=self.from_at,
            to_at=self.to_at,
            created_at=now,
        )

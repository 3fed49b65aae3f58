"""The ports of the outbox: the records that it sends, the broker, the spool and the clock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class OutboxRecord:
    """One numbered record as it is sent, and when it was received, in ms since 1970."""

    epoch: int
    seq: int
    received_ms: int
    key: bytes
    value: bytes


class Broker(Protocol):
    """Where records go."""

    async def send(self, topic: str, messages: Sequence[tuple[int, bytes, bytes]]) -> None:
        """
        Send (partition, key, value) in order and return when all are acknowledged.

        Raises:
            RecordTooLarge: If the record at the error's index can never be sent.
            BrokerUnavailable: If any may be missing.
        """


class SpoolPort(Protocol):
    """A queue of records on disk."""

    def __len__(self) -> int:
        """Return how many records are not acknowledged."""

    def append(self, records: Sequence[OutboxRecord]) -> None:
        """Append all records; raise SpoolFull and append nothing if the limit forbids it."""

    def read(self, limit: int) -> list[OutboxRecord]:
        """Return the oldest records, in order, without removing them."""

    def acknowledge(self, count: int) -> None:
        """Remove the oldest records."""


class OutboxClock(Protocol):
    """The time of day, and a clock for intervals."""

    @property
    def now(self) -> Callable[[], datetime]:
        """Return the current time in UTC."""

    @property
    def monotonic_s(self) -> Callable[[], float]:
        """Return seconds since an arbitrary moment; they never go back."""

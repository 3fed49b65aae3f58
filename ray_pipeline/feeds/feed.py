"""A feed is a value: where its records travel, where they are stored, how they look in Redis."""

from dataclasses import dataclass
from typing import Literal

FeedName = Literal["sp500", "bithumb", "top_gainers"]


@dataclass(frozen=True, slots=True)
class FeedSpec:
    """
    The facts of one feed.

    Attributes:
        name: Short name, used in leases, bars, gaps and commands.
        topic: Kafka topic, before any prefix.
        table: Postgres history table.
        redis_prefix: Between `latest:` or `realtime:` and the symbol.
        redis_hash: Hash that clients read, field = symbol; None where there is none.
        channel: Pub/sub channel that wakes those clients.
        partitions_setting: Name in KafkaSettings.
        venue: Whose calendar says when silence is suspicious; None for always.
    """

    name: FeedName
    topic: str
    table: str
    redis_prefix: str
    redis_hash: str | None
    channel: str | None
    partitions_setting: str
    venue: str | None


def partition_of(shard: int, partitions: int) -> int:
    """
    Return the partition that carries a shard.

    All of a shard goes through one partition, so that a hole in its numbers is a loss and not a
    record in another partition. A symbol belongs to one shard, so it stays in order too.
    """
    return shard % partitions

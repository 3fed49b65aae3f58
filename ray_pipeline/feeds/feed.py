"""A feed is a value: everything the pipeline knows about one stream of one venue."""

from dataclasses import dataclass
from typing import Any

from ray_pipeline.feeds.layout import Layout
from ray_pipeline.feeds.protocol import VenueProtocol
from ray_pipeline.feeds.symbol_source import SymbolSource


@dataclass(frozen=True, slots=True)
class RedisKeys:
    """
    How the latest values look in Redis.

    Attributes:
        prefix: Text between `latest:` or `realtime:` and the symbol.
        ttl_s: Default time to live.
        hash: Hash that clients read, field = symbol.
        channel: Pub/sub channel that notifies these clients.
    """

    prefix: str
    ttl_s: int
    hash: str | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class Sharding:
    """
    How a feed spreads its symbols over several connections, which are numbered from 1.

    Attributes:
        shards: Default number of connections.
        symbols_per_connection: Default limit of a connection.
        grows: Whether the feed adds a connection for each API key that no other feed uses.
    """

    shards: int
    symbols_per_connection: int
    grows: bool = False


@dataclass(frozen=True, slots=True)
class Feed:
    """
    One stream of one venue.

    Attributes:
        name: Short name in leases, bars, gaps, settings and commands.
        title: One line for people.
        rank: Position in every list. Feeds of lower rank receive API keys first.
        topic: Kafka topic, before any prefix.
        table: Postgres table of all records.
        layout: How records become rows and latest values.
        redis: Keys of the latest values.
        protocol: The venue's WebSocket.
        symbols: Where the symbols come from.
        simulator: Name of the simulator that replaces the venue.
        key_provider: Provider of the API keys, one per connection. None: the venue needs no key.
        sharding: None: one connection with the number 0 carries all symbols.
        partitions: Default number of partitions of the topic.
        calendar: Exchange that defines when silence is suspicious. None: at any time.
        latest_table: Postgres table of the newest record of each symbol.
    """

    name: str
    title: str
    rank: int
    topic: str
    table: str
    layout: Layout[Any]
    redis: RedisKeys
    protocol: VenueProtocol[Any]
    symbols: SymbolSource
    simulator: str
    key_provider: str | None = None
    sharding: Sharding | None = None
    partitions: int = 1
    calendar: str | None = None
    latest_table: str | None = None


def partition_of(shard: int, partitions: int) -> int:
    """
    Return the partition that carries a shard.

    A shard uses one partition only. Otherwise a missing number could be a loss as well as a record
    that is still in another partition. A symbol belongs to one shard, so its records stay in order.
    """
    return shard % partitions

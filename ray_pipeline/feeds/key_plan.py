"""Which API key each connection uses."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ray_pipeline.errors import PipelineError
from ray_pipeline.feeds.feed import Feed

SINGLE = (0,)  # the shard of a feed without sharding


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """
    The connections to a provider and the position of each connection's key.

    Attributes:
        keys: Number of keys.
        connections: Feed and shard of each connection; the connection at position N uses key N.
    """

    keys: int
    connections: tuple[tuple[str, int], ...]

    def shards(self, feed: str) -> tuple[int, ...]:
        """Return the shards of a feed, including those without a key."""
        return tuple(shard for name, shard in self.connections if name == feed)

    def with_key(self, feed: str) -> int:
        """Return how many connections of a feed have a key."""
        return sum(name == feed for name, _ in self.connections[: self.keys])

    def number(self, feed: str, shard: int) -> int | None:
        """Return which key, from 1, a connection needs; None if it is not in the plan."""
        connection = (feed, shard)
        return self.connections.index(connection) + 1 if connection in self.connections else None

    def position(self, feed: str, shard: int) -> int | None:
        """
        Return the position of a connection's key in the list of keys; None if no key is left.

        Raises:
            PipelineError: If the plan does not contain the connection.
        """
        number = self.number(feed, shard)
        if number is None:
            raise PipelineError(
                f"{feed} has no shard {shard}",
                fix=f"its shards are {', '.join(map(str, self.shards(feed)))}",
            )
        return number - 1 if number <= self.keys else None


def plan_keys(feeds: Sequence[Feed], shards: Mapping[str, int], *, keys: int) -> KeyPlan:
    """
    Give each key of a provider to one connection.

    A venue accepts one connection per key, and each key allows a limited number of symbols. The
    rule: in the order of `feeds`, each feed receives as many keys as it has configured shards. The
    first feed that grows then receives the remaining keys, one more shard for each. Its additional
    shards come last, so that another key never moves an existing connection to a different key.

    Args:
        feeds: The feeds that use the provider's keys, by rank.
        shards: Configured number of shards of each feed with sharding.
        keys: Number of keys.
    """
    connections = [(feed.name, shard) for feed in feeds for shard in _configured(feed, shards)]
    spare = keys - len(connections)
    growing = next((feed for feed in feeds if feed.sharding and feed.sharding.grows), None)
    if growing is not None:
        first = shards[growing.name] + 1
        connections += [(growing.name, shard) for shard in range(first, first + spare)]
    return KeyPlan(keys, tuple(connections))


def _configured(feed: Feed, shards: Mapping[str, int]) -> Iterator[int]:
    yield from SINGLE if feed.sharding is None else range(1, shards[feed.name] + 1)

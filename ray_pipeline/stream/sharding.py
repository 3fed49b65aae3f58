"""Assign symbols to connections. The rule is stable: a new symbol moves no other symbol."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Assignment:
    """
    Symbols and their shards.

    Attributes:
        shards: The shard of each symbol, from 1.
        uncovered: Symbols that no shard has room for, in the given order.
    """

    shards: Mapping[str, int]
    uncovered: tuple[str, ...]

    def of(self, shard: int) -> tuple[str, ...]:
        """Return the symbols of one shard."""
        return tuple(symbol for symbol, number in self.shards.items() if number == shard)


def assign(
    existing: Mapping[str, int], symbols: Sequence[str], *, shards: int, capacity: int
) -> Assignment:
    """
    Assign every symbol to a shard from 1 to `shards`, at most `capacity` symbols to each.

    A symbol keeps its shard, a removed symbol frees its place, and a new symbol goes to the shard
    with the most room, to the lowest number if there are several. Earlier symbols come first.
    """
    distinct_symbols = dict.fromkeys(symbols)
    placed: dict[str, int] = {}
    taken: Counter[int] = Counter()
    for symbol in distinct_symbols:
        shard = existing.get(symbol, 0)
        if 1 <= shard <= shards and taken[shard] < capacity:
            placed[symbol] = shard
            taken[shard] += 1
    uncovered = []
    for symbol in distinct_symbols:
        if symbol in placed:
            continue
        roomiest = min(range(1, shards + 1), key=lambda number: (taken[number], number))
        if taken[roomiest] >= capacity:
            uncovered.append(symbol)
            continue
        placed[symbol] = roomiest
        taken[roomiest] += 1
    return Assignment(
        {symbol: placed[symbol] for symbol in distinct_symbols if symbol in placed},
        tuple(uncovered),
    )

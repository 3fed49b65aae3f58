"""Which connection carries which symbol: a stable rule, so that a newcomer moves nobody."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum


class Uncovered(Enum):
    """Why nobody collects a symbol."""

    NO_KEY = "no key for its shard"
    NO_ROOM = "no room in any shard"


@dataclass(frozen=True, slots=True)
class Assignment:
    """
    Symbols and their shards.

    Attributes:
        shards: The shard of each symbol, from 1.
        uncovered: Symbols that fit nowhere, in the order given.
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
    Give every symbol a shard from 1 to `shards`, at most `capacity` in each.

    A symbol keeps the shard it has, a symbol that left frees its place, and a newcomer goes where
    most room is, to the lowest number of several. Earlier symbols are placed first.
    """
    wanted = dict.fromkeys(symbols)
    placed: dict[str, int] = {}
    taken: Counter[int] = Counter()
    for symbol in wanted:
        shard = existing.get(symbol, 0)
        if 1 <= shard <= shards and taken[shard] < capacity:
            placed[symbol] = shard
            taken[shard] += 1
    uncovered = []
    for symbol in wanted:
        if symbol in placed:
            continue
        roomiest = min(range(1, shards + 1), key=lambda number: (taken[number], number))
        if taken[roomiest] >= capacity:
            uncovered.append(symbol)
            continue
        placed[symbol] = roomiest
        taken[roomiest] += 1
    return Assignment(
        {symbol: placed[symbol] for symbol in wanted if symbol in placed}, tuple(uncovered)
    )


def coverage(assignment: Assignment, *, keys: int) -> dict[str, Uncovered]:
    """Return each symbol that nobody collects, and why. Shard N uses the Nth of the keys."""
    without_key = {
        symbol: Uncovered.NO_KEY for symbol, shard in assignment.shards.items() if shard > keys
    }
    return without_key | dict.fromkeys(assignment.uncovered, Uncovered.NO_ROOM)

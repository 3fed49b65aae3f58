"""Where a feed's symbols come from, as a value. `storage.postgres.symbols` executes it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import LiteralString

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class RestListing:
    """A list of symbols at the venue's REST API."""

    path: str
    params: Mapping[str, str]
    rows: Callable[[bytes], Iterable[Row]]
    """Yield the rows of an answer. Raise FeedRefused if it is not a list."""


@dataclass(frozen=True, slots=True)
class Fill:
    """
    How to fill the table of symbols.

    Attributes:
        table: Name of the table, for the log.
        insert: Statement that inserts one row. It must tolerate rows that exist.
        rows: The rows, or the REST listing that returns them.
        source: Origin of the rows, for the log.
    """

    table: str
    insert: LiteralString
    rows: Callable[[], Iterable[Row]] | RestListing
    source: str


@dataclass(frozen=True, slots=True)
class SymbolSource:
    """
    Attributes:
        query: Returns the symbols in order; a second column holds their categories.
        poll_s: Seconds between two executions of the query.
        spelling: Converts a symbol of the table into the venue's spelling.
        limit: Maximum number of symbols.
        channel: Postgres notification after which the query runs at once.
        if_empty: Fills the table if the query returns no symbol.
        refresh: Whether `if_empty` runs before each query. Use it if no job maintains the table.
        simulated: Fills the table in the same case, but only for simulated data.
    """

    query: LiteralString
    poll_s: float
    spelling: Callable[[str], str] = field(default=str)
    limit: int | None = None
    channel: str | None = None
    if_empty: Fill | None = None
    refresh: bool = False
    simulated: Fill | None = None

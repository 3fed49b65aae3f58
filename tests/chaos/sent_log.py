"""Read the venue's log: what was written to sockets, and when clients came and went."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SentTrade:
    """
    A trade in the venue's log.

    Attributes:
        at_s: When it was written, seconds since the epoch.
        connection, shard: To whom it was sent.
        symbol: Its symbol.
        key: The text by which it is compared with a row: symbol, price, volume and event time.
    """

    at_s: float
    connection: int
    shard: int
    symbol: str
    key: str


@dataclass(slots=True)
class SentLog:
    """
    The contents of the log.

    Attributes:
        sent: How often each trade was written.
        perhaps: Trades of which the write failed; they may have arrived.
        moments: When a client of each shard connected or disconnected, in order.
        symbols_by_shard: The symbols that were sent to each shard.
    """

    path: Path
    sent: Counter[str] = field(default_factory=Counter)
    perhaps: Counter[str] = field(default_factory=Counter)
    moments: dict[int, list[float]] = field(default_factory=dict)
    symbols_by_shard: dict[int, set[str]] = field(default_factory=dict)

    def trades(self) -> Iterator[SentTrade]:
        """Yield the trades that were written, in their order."""
        with self.path.open(encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("T "):
                    yield _trade(line)


def read_log(path: Path) -> SentLog:
    """Return the contents of a complete log."""
    log = SentLog(path)
    with path.open(encoding="utf-8") as lines:
        add(log, lines)
    return log


def add(log: SentLog, lines: Iterable[str]) -> None:
    """Add lines to the contents of a log."""
    for line in lines:
        kind = line[0]
        if kind in "TM":
            trade = _trade(line)
            (log.sent if kind == "T" else log.perhaps)[trade.key] += 1
            log.symbols_by_shard.setdefault(trade.shard, set()).add(trade.symbol)
        else:
            _, at_s, _, shard = line.split()
            log.moments.setdefault(int(shard), []).append(float(at_s))


def _trade(line: str) -> SentTrade:
    _, at_s, connection, shard, key = line.rstrip("\n").split(" ", 4)
    return SentTrade(float(at_s), int(connection), int(shard), key.partition(" ")[0], key)

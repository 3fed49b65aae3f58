"""Write bars: a batch's bars of one second are rolled up, and merged into the stored bars."""

from collections.abc import Mapping
from datetime import UTC, datetime

from psycopg import sql

from ray_pipeline.feeds.layout import escape
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.stream.bars import Bar, BarKey, roll_up

NEW_BARS = sql.SQL(
    "CREATE TEMPORARY TABLE IF NOT EXISTS new_bars (LIKE bars) ON COMMIT DELETE ROWS"
)
_COLUMNS = (
    "feed, symbol, interval_s, start_at, open, high, low, close, volume, trades, open_ms, close_ms"
)
_MERGE = sql.SQL("""
    INSERT INTO bars AS stored ({columns}) SELECT {columns} FROM new_bars
    ON CONFLICT (feed, symbol, interval_s, start_at) DO UPDATE SET
        high = greatest(stored.high, excluded.high),
        low = least(stored.low, excluded.low),
        open = CASE WHEN excluded.open_ms < stored.open_ms THEN excluded.open ELSE stored.open END,
        open_ms = least(stored.open_ms, excluded.open_ms),
        close = CASE WHEN excluded.close_ms >= stored.close_ms
                     THEN excluded.close ELSE stored.close END,
        close_ms = greatest(stored.close_ms, excluded.close_ms),
        volume = stored.volume + excluded.volume,
        trades = stored.trades + excluded.trades
""").format(columns=sql.SQL(_COLUMNS))
_COPY = f"COPY new_bars ({_COLUMNS}) FROM STDIN"


async def write_bars(connection: Connection, feed: str, seconds: Mapping[BarKey, Bar]) -> None:
    """
    Merge bars of one second into the stored bars of all intervals, in the caller's transaction.

    The connection has run `NEW_BARS`.
    """
    if not seconds:
        return
    lines: list[str] = []
    for interval_s, bars in roll_up(seconds):
        lines += [
            f"{feed}\t{escape(symbol)}\t{interval_s}\t{_second(start_s)}\t{bar.open!s}\t"
            f"{bar.high!s}\t{bar.low!s}\t{bar.close!s}\t{bar.volume!s}\t{bar.trades}\t"
            f"{bar.open_ms}\t{bar.close_ms}\n"
            for (symbol, start_s), bar in bars.items()
        ]
    # Every writer takes the rows' locks in one order.
    lines.sort()
    async with connection.cursor() as cursor:
        async with cursor.copy(_COPY) as copy:
            await copy.write("".join(lines).encode())
        await cursor.execute(_MERGE)


_seconds: dict[int, str] = {}


def _second(start_s: int) -> str:
    """Return a second as Postgres reads it; the same ones come for every symbol."""
    text = _seconds.get(start_s)
    if text is None:
        if len(_seconds) > 100_000:
            _seconds.clear()
        text = _seconds[start_s] = datetime.fromtimestamp(start_s, UTC).isoformat()
    return text

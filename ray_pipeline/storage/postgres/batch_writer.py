"""
Write the rows, bars, numbers, dead letters and gaps of a batch in the caller's transaction.

A row that Postgres refuses for its content is found by halving, and becomes a dead letter.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Generic, LiteralString, TypeVar

import psycopg
from psycopg import sql

from ray_pipeline.dead_letter_reasons import Reason, refused_by_postgres
from ray_pipeline.errors import Disposition
from ray_pipeline.feeds.feed import FeedSpec
from ray_pipeline.feeds.records import Ticker, Trade, from_ms
from ray_pipeline.storage.postgres.connection import (
    UNIQUE_VIOLATION,
    Connection,
    disposition,
    first_line,
)
from ray_pipeline.stream.bars import roll_up
from ray_pipeline.stream.batch import (
    EpochCounts,
    Parked,
    RecordBatch,
    RecordRow,
    ShardEpoch,
    summarise,
)
from ray_pipeline.stream.rows import TICKER_COLUMNS, Layout, escape
from ray_pipeline.stream.sequence import multirange

T = TypeVar("T", Trade, Ticker)

# Statements that a connection runs before its first batch.
STAGING_TABLES: tuple[LiteralString, ...] = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS new_bars (LIKE bars) ON COMMIT DELETE ROWS",
    "CREATE TEMPORARY TABLE IF NOT EXISTS new_tickers (LIKE bithumb_ticker INCLUDING DEFAULTS) "
    "ON COMMIT DELETE ROWS",
)
BAR_COLUMNS = (
    "feed, symbol, interval_s, start_at, open, high, low, close, volume, trades, open_ms, close_ms"
)
_MERGE_BARS = sql.SQL("""
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
""").format(columns=sql.SQL(BAR_COLUMNS))
_COPY_BARS = f"COPY new_bars ({BAR_COLUMNS}) FROM STDIN"
_SEQUENCES = """
    INSERT INTO stream_sequences AS stored
        (feed, shard, epoch, seen, stored, parked, notices, last_received_at, last_event_at)
    VALUES (%s, %s, %s, %s::int8multirange, %s, %s, %s, %s::timestamptz, %s)
    ON CONFLICT (feed, shard, epoch) DO UPDATE SET
        seen = stored.seen + excluded.seen,
        stored = stored.stored + excluded.stored,
        parked = stored.parked + excluded.parked,
        notices = stored.notices + excluded.notices,
        last_received_at = greatest(stored.last_received_at, excluded.last_received_at),
        last_event_at = greatest(stored.last_event_at, excluded.last_event_at)
"""
_STATISTICS = """
    INSERT INTO shard_statistics AS stored (feed, shard, records, symbols)
    VALUES (%s, %s, %s, %s)
    ON CONFLICT (feed, shard) DO UPDATE SET
        records = stored.records + excluded.records,
        symbols = CASE WHEN excluded.symbols <@ stored.symbols THEN stored.symbols
                       ELSE ARRAY(SELECT unnest(stored.symbols) UNION
                                  SELECT unnest(excluded.symbols) ORDER BY 1) END,
        last_at = now()
"""
_PARK = """
    INSERT INTO dead_letters
        (feed, topic, partition, "offset", shard, epoch, seq, key, payload, reason, detail)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_GAP = """
    INSERT INTO gaps (feed, shard, epoch, seq, kind, symbols, from_at, to_at, cause)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (feed, shard, epoch, seq) DO NOTHING
"""
_TICKER_NAMES = ", ".join(TICKER_COLUMNS)
_EXCLUDED = ", ".join(f"excluded.{name}" for name in TICKER_COLUMNS)
_LATEST_TICKERS = f"""
    INSERT INTO bithumb_ticker_latest AS stored (id, {_TICKER_NAMES})
    SELECT DISTINCT ON (market) id, {_TICKER_NAMES} FROM new_tickers
    ORDER BY market, timestamp_field DESC, epoch DESC, seq DESC
    ON CONFLICT (market) DO UPDATE SET
        (id, {_TICKER_NAMES}) = ROW (excluded.id, {_EXCLUDED})
    WHERE excluded.timestamp_field >= stored.timestamp_field
"""  # noqa: S608 - the names are constants of this package


class BatchWriter(Generic[T]):
    """Writes batches of one feed."""

    def __init__(self, spec: FeedSpec, layout: Layout[T], *, topic: str) -> None:
        self._spec = spec
        self._layout: Layout[T] = layout
        self._topic = topic
        self._months: set[tuple[str, int, int]] = set()
        self._copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(spec.table), sql.SQL(", ").join(map(sql.Identifier, layout.columns))
        )
        self._latest = spec.name == "bithumb"

    async def make_months(self, connection: Connection, batch: RecordBatch[T]) -> None:
        """Make the monthly partitions that the batch needs and that were not made ahead."""
        needed: set[tuple[str, int, int]] = set()
        for received in {row.received[:7] for row in batch.rows}:
            needed.add((self._spec.table, int(received[:4]), int(received[5:7])))
        for day in {start_s // 86_400 for _, start_s in batch.bars}:
            first = from_ms(day * 86_400_000)
            needed.add(("bars", first.year, first.month))
        for table, year, month in needed - self._months:
            await connection.execute(
                "SELECT make_month_partition(%s, make_date(%s, %s, 1)::timestamp)",
                (table, year, month),
            )
            self._months.add((table, year, month))

    async def write(self, connection: Connection, batch: RecordBatch[T], *, halve: bool) -> None:
        """
        Write a batch; the caller's transaction decides whether it stays.

        Args:
            connection: In a transaction.
            batch: With `halve`, rows that Postgres refuses move to its dead letters.
            halve: Find refused rows. Without it, one refused row fails the whole batch, but the
                batch needs no savepoints, which is the fast path.

        Raises:
            psycopg.Error: If a statement fails.
        """
        if batch.rows:
            if halve:
                await self._copy_good(connection, batch)
            else:
                await self._copy_rows(connection, batch.rows)
        if batch.bars:
            await self._write_bars(connection, batch)
        await self._write_counts(connection, batch)
        for parked in batch.parked:
            await connection.execute(_PARK, self._parked_row(parked))
        for _, gap in batch.gaps:
            await connection.execute(
                _GAP,
                (
                    self._spec.name, gap.pod_index, gap.epoch, gap.seq, gap.gap_kind, gap.symbols,
                    gap.from_at, gap.to_at, gap.cause,
                ),
            )  # fmt: skip

    async def _copy_rows(self, connection: Connection, rows: Sequence[RecordRow[T]]) -> None:
        text = "".join([row.line for row in rows]).encode()
        async with connection.cursor() as cursor:
            if not self._latest:
                async with cursor.copy(self._copy) as copy:
                    await copy.write(text)
                return
            # Tickers go through a staging table, which also feeds the table of latest rows.
            async with cursor.copy(f"COPY new_tickers ({_TICKER_NAMES}) FROM STDIN") as copy:
                await copy.write(text)
            await cursor.execute(_LATEST_TICKERS)
            await cursor.execute(
                f"INSERT INTO bithumb_ticker (id, {_TICKER_NAMES}) "  # noqa: S608
                f"SELECT id, {_TICKER_NAMES} FROM new_tickers"
            )
            await cursor.execute("TRUNCATE new_tickers")

    async def _copy_good(self, connection: Connection, batch: RecordBatch[T]) -> None:
        """Copy the rows that Postgres accepts; find the others by halving, and park them."""
        good: list[RecordRow[T]] = []
        await self._halve(connection, batch.rows, good=good, batch=batch)
        batch.rows = good
        accepted = Counter((row.record.pod_index, row.record.epoch) for row in good)
        for shard_epoch, counts in batch.counts.items():
            refused = counts.stored - accepted[shard_epoch]
            counts.stored -= refused
            counts.parked += refused
        # Bars cannot be subtracted from, so they are built again from the accepted rows.
        batch.bars, batch.newest = {}, {}
        summarise(self._layout, good, bars=batch.bars, newest=batch.newest)

    async def _halve(
        self,
        connection: Connection,
        rows: Sequence[RecordRow[T]],
        *,
        good: list[RecordRow[T]],
        batch: RecordBatch[T],
    ) -> None:
        try:
            async with connection.transaction():
                await self._copy_rows(connection, rows)
        except psycopg.Error as error:
            if disposition(error) is not Disposition.PARK:
                raise
            if len(rows) == 1:
                batch.parked.append(_refused(rows[0], error))
                return
            middle = len(rows) // 2
            await self._halve(connection, rows[:middle], good=good, batch=batch)
            await self._halve(connection, rows[middle:], good=good, batch=batch)
        else:
            good.extend(rows)

    async def _write_bars(self, connection: Connection, batch: RecordBatch[T]) -> None:
        feed = self._spec.name
        lines: list[str] = []
        for interval_s, bars in roll_up(batch.bars):
            lines += [
                f"{feed}\t{escape(symbol)}\t{interval_s}\t{_second(start_s)}\t{bar.open}\t"
                f"{bar.high}\t{bar.low}\t{bar.close}\t{bar.volume}\t{bar.trades}\t{bar.open_ms}\t{bar.close_ms}\n"
                for (symbol, start_s), bar in bars.items()
            ]
        # Every writer takes the rows' locks in one order.
        lines.sort()
        async with connection.cursor() as cursor:
            async with cursor.copy(_COPY_BARS) as copy:
                await copy.write("".join(lines).encode())
            await cursor.execute(_MERGE_BARS)

    async def _write_counts(self, connection: Connection, batch: RecordBatch[T]) -> None:
        feed = self._spec.name
        for (shard, epoch), count in sorted(batch.counts.items()):
            event_at = None if count.last_event_ms is None else from_ms(count.last_event_ms)
            await connection.execute(
                _SEQUENCES,
                (
                    feed, shard, epoch, multirange(count.ranges), count.stored, count.parked,
                    count.notices, count.last_received, event_at,
                ),
            )  # fmt: skip
        for shard, (records, symbols) in sorted(_by_shard(batch.counts).items()):
            await connection.execute(_STATISTICS, (feed, shard, records, sorted(symbols)))

    def _parked_row(self, parked: Parked) -> tuple[object, ...]:
        message = parked.message
        payload = message.value or b"" if parked.payload is None else parked.payload
        return (
            self._spec.name, self._topic, message.partition, message.offset, parked.shard,
            parked.epoch, parked.seq, message.key, payload, parked.reason,
            parked.detail.replace("\x00", ""),
        )  # fmt: skip


def _refused(row: RecordRow[T], error: psycopg.Error) -> Parked:
    record = row.record
    duplicate = error.sqlstate == UNIQUE_VIOLATION
    return Parked(
        row.message,
        Reason.DUPLICATE if duplicate else refused_by_postgres(error.sqlstate),
        first_line(error),
        shard=record.pod_index,
        epoch=record.epoch,
        seq=record.seq,
    )


def _by_shard(counts: Mapping[ShardEpoch, EpochCounts]) -> dict[int, tuple[int, set[str]]]:
    shards: dict[int, tuple[int, set[str]]] = {}
    for (shard, _), count in counts.items():
        records, symbols = shards.get(shard, (0, set()))
        shards[shard] = (records + count.stored, symbols | count.symbols)
    return shards


_seconds: dict[int, str] = {}


def _second(start_s: int) -> str:
    """Return a second as Postgres reads it; the same ones come for every symbol."""
    text = _seconds.get(start_s)
    if text is None:
        if len(_seconds) > 100_000:
            _seconds.clear()
        text = _seconds[start_s] = datetime.fromtimestamp(start_s, UTC).isoformat()
    return text

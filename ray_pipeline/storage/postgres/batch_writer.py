"""
Write the rows, bars, numbers, dead letters and gaps of a batch in the caller's transaction.

A record that Postgres refuses for its content is found by `row_isolation`, and becomes a dead
letter.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain
from typing import Generic, LiteralString, TypeVar

import msgspec
from psycopg import sql

from ray_pipeline.dead_letter_reasons import Reason, refused_by_postgres
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.layout import Layout
from ray_pipeline.feeds.records import Gap, Record, from_ms, to_ms
from ray_pipeline.storage.postgres.bar_rows import NEW_BARS, write_bars
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.storage.postgres.database_errors import UNIQUE_VIOLATION, first_line
from ray_pipeline.storage.postgres.row_isolation import Refused, isolate_refused
from ray_pipeline.storage.postgres.snapshot_rows import write_snapshots
from ray_pipeline.stream.bars import Bar, BarKey
from ray_pipeline.stream.batch import (
    EpochCounts,
    Message,
    Parked,
    RecordBatch,
    RecordRow,
    ShardEpoch,
    mark_symbols,
    summarise,
)
from ray_pipeline.stream.sequence import multirange

T = TypeVar("T", bound=Record)
Month = tuple[str, int, int]  # table, year, month

LONGEST_REASON = 64
LONGEST_DETAIL = 2_000
NO_MESSAGE = Message(0, 0, 0, None, None)  # of the plain items that test a table
PLAIN_GAP = Gap(epoch=0, seq=0, pod_index=0, gap_kind="test", cause="")

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
_NEW_ROWS = """
    CREATE TEMPORARY TABLE IF NOT EXISTS new_rows (LIKE {table} INCLUDING DEFAULTS)
        ON COMMIT DELETE ROWS
"""
_LATEST_ROWS = """
    INSERT INTO {latest} AS stored (id, {columns})
    SELECT DISTINCT ON ({symbol}) id, {columns} FROM new_rows
    ORDER BY {symbol}, {event} DESC, epoch DESC, seq DESC
    ON CONFLICT ({symbol}) DO UPDATE SET (id, {columns}) = ROW (excluded.id, {excluded})
    WHERE excluded.{event} >= stored.{event}
"""
_HISTORY_ROWS = "INSERT INTO {table} (id, {columns}) SELECT id, {columns} FROM new_rows"


class BatchWriter(Generic[T]):
    """
    Writes batches of one feed.

    Attributes:
        setup: Statements that a connection runs before its first batch.
    """

    def __init__(self, spec: Feed, layout: Layout[T], *, topic: str) -> None:
        self._spec = spec
        self._layout: Layout[T] = layout
        self._topic = topic
        self._months: set[Month] = set()
        self._stored: T | None = None  # the last record that Postgres accepted
        self._names = {
            "table": sql.Identifier(spec.table),
            "latest": sql.Identifier(spec.latest_table or ""),
            "symbol": sql.Identifier(layout.symbol_column),
            "event": sql.Identifier(layout.event_column),
            "columns": sql.SQL(", ").join(map(sql.Identifier, layout.columns)),
            "excluded": sql.SQL(", ").join(
                sql.Identifier("excluded", name) for name in layout.columns
            ),
        }
        self._copy = self._statement("COPY {table} ({columns}) FROM STDIN")
        self.setup = (NEW_BARS, self._statement(_NEW_ROWS))

    def _statement(self, template: LiteralString) -> sql.Composed:
        return sql.SQL(template).format(**self._names)

    async def make_months(self, connection: Connection, batch: RecordBatch[T]) -> None:
        """Make the monthly partitions that the batch needs and that were not made ahead."""
        missing = self._months_of(batch.rows, batch.bars) - self._months
        await _make_months(connection, missing)
        self._months |= missing

    def _months_of(self, rows: Iterable[RecordRow[T]], bars: Iterable[BarKey]) -> set[Month]:
        months: set[Month] = set()
        for received in {row.received[:7] for row in rows}:
            months.add((self._spec.table, int(received[:4]), int(received[5:7])))
        for day in {start_s // 86_400 for _, start_s in bars}:
            first = from_ms(day * 86_400_000)
            months.add(("bars", first.year, first.month))
        return months

    async def write(self, connection: Connection, batch: RecordBatch[T]) -> None:
        """
        Write a batch; the caller's transaction decides whether it stays.

        One refused record fails the whole batch, but the batch needs no savepoints: this is the
        fast path.

        Raises:
            Exception: If a statement fails, or a value cannot be prepared for it.
        """
        if batch.rows:
            await self._copy_rows(connection, batch.rows)
        await write_bars(connection, self._spec.name, batch.bars)
        await self._write_gaps(connection, batch.gaps)
        await self._write_counts(connection, batch.counts)
        await self._write_parked(connection, batch.parked)
        await write_snapshots(connection, self._spec.name, batch.snapshots)

    def committed(self, batch: RecordBatch[T]) -> None:
        """Note that a batch is stored: its last record tests the table after a refusal."""
        if batch.rows:
            self._stored = batch.rows[-1].record

    async def write_accepted(self, connection: Connection, batch: RecordBatch[T]) -> RecordBatch[T]:
        """
        Write the records of a batch that Postgres accepts, and the others as dead letters.

        Returns:
            The batch as it was written. The given batch does not change: if the caller's
            transaction is rolled back, no record may count as parked.

        Raises:
            Exception: If something other than the content of a record is at fault.
        """
        self._months.clear()  # an operator may have dropped a partition
        # Otherwise a deferred constraint fails at the commit, which blames no row.
        await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        refused_rows = await isolate_refused(
            connection,
            batch.rows,
            lambda rows: self._write_rows(connection, rows),
            plain=self._plain_rows(batch.rows),
        )
        refused_gaps = await isolate_refused(
            connection,
            batch.gaps,
            lambda gaps: self._write_gaps(connection, gaps),
            plain=[(NO_MESSAGE, PLAIN_GAP)],
        )
        written = self._without(batch, refused_rows, refused_gaps)
        await self._write_counts(connection, written.counts)
        await self._park_all(connection, written.parked)
        await write_snapshots(connection, self._spec.name, written.snapshots)
        return written

    async def _write_rows(self, connection: Connection, rows: Sequence[RecordRow[T]]) -> None:
        """Write rows with all that follows from them, so that a savepoint covers both."""
        bars: dict[BarKey, Bar] = {}
        summarise(rows, bars=bars, newest={})
        await _make_months(connection, self._months_of(rows, bars))
        await self._copy_rows(connection, rows)
        await write_bars(connection, self._spec.name, bars)
        await connection.execute("TRUNCATE new_bars")

    def _plain_rows(self, rows: Sequence[RecordRow[T]]) -> list[RecordRow[T]]:
        """
        Return rows that test the table: one that is valid by construction, and the last stored one.

        They are of the month of `rows`, so that its partition is tested too. Records are numbered
        from 1; these have the number 0.
        """
        layout = self._layout
        received = rows[0].received if rows else datetime.now(UTC).isoformat()
        event_ms = to_ms(datetime.fromisoformat(received).replace(tzinfo=UTC))
        times = {layout.event_column: event_ms, "seq": 0}
        texts = {layout.symbol_column: "-", layout.price_column: 1, layout.volume_column: 1}
        records = [msgspec.convert({**texts, **times, "epoch": 0}, layout.kind)]
        if self._stored is not None:
            fields = msgspec.to_builtins(self._stored, builtin_types=(Decimal, datetime))
            records.append(msgspec.convert({**fields, **times}, layout.kind))
        return [
            RecordRow(
                NO_MESSAGE, record, layout.line(record, received), received, layout.trade(record)
            )
            for record in records
        ]

    def _without(
        self,
        batch: RecordBatch[T],
        refused_rows: Sequence[Refused[RecordRow[T]]],
        refused_gaps: Sequence[Refused[tuple[Message, Gap]]],
    ) -> RecordBatch[T]:
        """Return the batch with refused records as dead letters. Its bars are written already."""
        row_ids = {id(refused.item) for refused in refused_rows}
        gap_ids = {id(refused.item) for refused in refused_gaps}
        records = [refused.item.record for refused in refused_rows]
        notices = [refused.item[1] for refused in refused_gaps]
        rows_by_epoch = Counter((record.pod_index, record.epoch) for record in records)
        gaps_by_epoch = Counter((gap.pod_index, gap.epoch) for gap in notices)
        written = replace(
            batch,
            rows=[row for row in batch.rows if id(row) not in row_ids],
            gaps=[gap for gap in batch.gaps if id(gap) not in gap_ids],
            parked=[
                *batch.parked,
                *(
                    _refused(item.item.message, item.item.record, item.error)
                    for item in refused_rows
                ),
                *(_refused(*item.item, item.error) for item in refused_gaps),
            ],
            counts={
                key: replace(
                    counts,
                    stored=counts.stored - rows_by_epoch[key],
                    notices=counts.notices - gaps_by_epoch[key],
                    parked=counts.parked + rows_by_epoch[key] + gaps_by_epoch[key],
                )
                for key, counts in batch.counts.items()
            },
            bars={},
            newest={},
        )
        summarise(written.rows, bars=written.bars, newest=written.newest)
        mark_symbols(self._layout, written)
        return written

    async def _copy_rows(self, connection: Connection, rows: Sequence[RecordRow[T]]) -> None:
        text = _copy_text(rows)
        async with connection.cursor() as cursor:
            if self._spec.latest_table is None:
                async with cursor.copy(self._copy) as copy:
                    await copy.write(text)
                return
            # The rows go through a staging table, which also updates the table of latest rows.
            copy_new = self._statement("COPY new_rows ({columns}) FROM STDIN")
            async with cursor.copy(copy_new) as copy:
                await copy.write(text)
            await cursor.execute(self._statement(_LATEST_ROWS))
            await cursor.execute(self._statement(_HISTORY_ROWS))
            await cursor.execute("TRUNCATE new_rows")

    async def _write_gaps(
        self, connection: Connection, gaps: Sequence[tuple[Message, Gap]]
    ) -> None:
        for _, gap in gaps:
            await connection.execute(
                _GAP,
                (
                    self._spec.name, gap.pod_index, gap.epoch, gap.seq, gap.gap_kind, gap.symbols,
                    gap.from_at, gap.to_at, gap.cause,
                ),
            )  # fmt: skip

    async def _write_counts(
        self, connection: Connection, epochs: Mapping[ShardEpoch, EpochCounts]
    ) -> None:
        feed = self._spec.name
        for (shard, epoch), count in sorted(epochs.items()):
            event_at = None if count.last_event_ms is None else from_ms(count.last_event_ms)
            await connection.execute(
                _SEQUENCES,
                (
                    feed, shard, epoch, multirange(count.ranges), count.stored, count.parked,
                    count.notices, count.last_received, event_at,
                ),
            )  # fmt: skip
        for shard, (records, symbols) in sorted(_by_shard(epochs).items()):
            await connection.execute(_STATISTICS, (feed, shard, records, sorted(symbols)))

    async def _park_all(self, connection: Connection, parked: Sequence[Parked]) -> None:
        """Write dead letters; one that Postgres refuses is written with its bytes alone."""
        refused = await isolate_refused(
            connection,
            parked,
            lambda part: self._write_parked(connection, part),
            plain=[Parked(NO_MESSAGE, Reason.DUPLICATE, "")],
        )
        bare = [
            Parked(
                message=msgspec.structs.replace(item.item.message, key=None),
                reason=refused_by_postgres(item.error),
                detail="its dead letter was refused, too",
            )
            for item in refused
        ]
        await self._write_parked(connection, bare)

    async def _write_parked(self, connection: Connection, dead_letters: Sequence[Parked]) -> None:
        for parked in dead_letters:
            await connection.execute(_PARK, self._parked_row(parked))

    def _parked_row(self, parked: Parked) -> tuple[object, ...]:
        message = parked.message
        payload = message.value or b"" if parked.payload is None else parked.payload
        return (
            self._spec.name, self._topic, message.partition, message.offset, parked.shard,
            parked.epoch, parked.seq, message.key, payload, parked.reason[:LONGEST_REASON],
            parked.detail[:LONGEST_DETAIL],
        )  # fmt: skip


def _copy_text(rows: Iterable[RecordRow[T]]) -> bytes:
    """
    Return the COPY text of rows, grouped by symbol; the rows of a symbol keep their order.

    The primary key begins with the symbol. Rows of one symbol go to the same page of its index, so
    Postgres inserts a group with a quarter less work than the same rows in the order of arrival.
    """
    lines: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        lines[row.trade[0]].append(row.line)
    return "".join(chain.from_iterable(lines.values())).encode()


async def _make_months(connection: Connection, months: Iterable[Month]) -> None:
    for table, year, month in months:
        await connection.execute(
            "SELECT make_month_partition(%s, make_date(%s, %s, 1)::timestamp)",
            (table, year, month),
        )


def _refused(message: Message, record: Record, error: Exception) -> Parked:
    duplicate = getattr(error, "sqlstate", None) == UNIQUE_VIOLATION
    return Parked(
        message,
        Reason.DUPLICATE if duplicate else refused_by_postgres(error),
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

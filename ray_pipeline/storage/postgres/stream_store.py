"""
Storing a batch in Postgres: rows, bars, numbers and offset in one transaction.

That is what "exactly once" rests on. The offset moves only from where this owner left it and only
under this owner's epoch; if the row does not move, somebody else owns the partition and nothing of
the batch stays.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

import psycopg
from psycopg import sql

from ray_pipeline.errors import DatabaseUnavailable, Disposition, OwnershipLost, PipelineError
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.layout import Layout, escape
from ray_pipeline.feeds.records import Record, from_ms
from ray_pipeline.storage.postgres.connection import (
    UNIQUE_VIOLATION,
    Connection,
    connect,
    disposition,
)
from ray_pipeline.stream.bars import roll_up
from ray_pipeline.stream.batch import Item, Parked, Prepared, ShardEpoch, Tally, summarise
from ray_pipeline.stream.sequence import RangeSet, multirange

T = TypeVar("T", bound=Record)

CLAIM_TIMEOUT_MS = 2_000  # longer than any transaction of a living owner

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
_NEW_BARS = "CREATE TEMPORARY TABLE IF NOT EXISTS new_bars (LIKE bars) ON COMMIT DELETE ROWS"
_NEW_ROWS = """
    CREATE TEMPORARY TABLE IF NOT EXISTS new_rows (LIKE {table} INCLUDING DEFAULTS)
        ON COMMIT DELETE ROWS
"""
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
_MOVE_OFFSET = """
    UPDATE stream_offsets SET next_offset = %s, redelivered = redelivered + %s, tail_crc = %s,
        updated_at = now()
    WHERE topic = %s AND partition = %s AND epoch = %s AND next_offset = %s
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
_CLAIM = """
    INSERT INTO stream_offsets AS stored (topic, partition, next_offset, epoch)
    VALUES (%s, %s, -1, %s)
    ON CONFLICT (topic, partition) DO UPDATE SET epoch = excluded.epoch
    WHERE stored.epoch <= excluded.epoch
    RETURNING next_offset, tail_crc
"""
_END_FROZEN = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = %s AND pid <> pg_backend_pid() AND datname = current_database()
      AND xact_start < now() - make_interval(secs => %s / 1000.0)
"""
_LATEST_ROWS = """
    INSERT INTO {latest} AS stored (id, {columns})
    SELECT DISTINCT ON ({symbol}) id, {columns} FROM new_rows
    ORDER BY {symbol}, {event} DESC, epoch DESC, seq DESC
    ON CONFLICT ({symbol}) DO UPDATE SET (id, {columns}) = ROW (excluded.id, {excluded})
    WHERE excluded.{event} >= stored.{event}
"""
_HISTORY_ROWS = "INSERT INTO {table} (id, {columns}) SELECT id, {columns} FROM new_rows"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a partition goes on, and the checksum of the value before it (None: none known)."""

    next_offset: int | None
    tail_crc: int | None


class Store(Generic[T]):
    """One feed's writer. It keeps one connection and opens it again after an outage."""

    def __init__(self, dsn: str, spec: Feed, layout: Layout[T], *, topic: str) -> None:
        self._dsn = dsn
        self._spec = spec
        self._layout: Layout[T] = layout
        self._topic = topic
        self._name = f"ray-pipeline store {spec.name}"
        self._connection: Connection | None = None
        self._months: set[tuple[str, int, int]] = set()
        self._copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(spec.table), sql.SQL(", ").join(map(sql.Identifier, layout.columns))
        )
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

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def claim(self, partition: int, epoch: int) -> Position:
        """
        Take over a partition under a newer lease and return where it goes on.

        Raises:
            OwnershipLost: If an owner with a newer lease has claimed it.
            DatabaseUnavailable: If Postgres is away.
        """
        connection = await self._open()
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = {CLAIM_TIMEOUT_MS}")
                cursor = await connection.execute(_CLAIM, (self._topic, partition, epoch))
                row = await cursor.fetchone()
        except psycopg.errors.LockNotAvailable as error:
            # The owner before froze in the middle of a transaction. Its lease is over: end it.
            await connection.execute(_END_FROZEN, (self._name, CLAIM_TIMEOUT_MS))
            raise DatabaseUnavailable(
                f"{self._topic}/{partition} was locked by an owner whose lease is over"
            ) from error
        except psycopg.Error as error:
            raise await self._failed(error) from error
        if row is None:
            raise OwnershipLost(f"{self._topic}/{partition} has an owner newer than epoch {epoch}")
        return Position(None if row[0] < 0 else row[0], row[1])

    async def rewind(self, partition: int, epoch: int, offset: int) -> None:
        """
        Set a partition's next offset, at its first use or after the broker lost its log.

        Raises:
            OwnershipLost, DatabaseUnavailable: As for `claim`.
        """
        connection = await self._open()
        try:
            cursor = await connection.execute(
                "UPDATE stream_offsets SET next_offset = %s, tail_crc = NULL "
                "WHERE topic = %s AND partition = %s AND epoch = %s",
                (offset, self._topic, partition, epoch),
            )
        except psycopg.Error as error:
            raise await self._failed(error) from error
        if cursor.rowcount == 0:
            raise OwnershipLost(f"{self._topic}/{partition} was claimed by another consumer")

    async def sequences(self) -> dict[ShardEpoch, RangeSet]:
        """
        Return which numbers are stored, by (shard, epoch).

        Raises:
            DatabaseUnavailable: If Postgres is away.
        """
        connection = await self._open()
        try:
            cursor = await connection.execute(
                """
                SELECT shard, epoch, lower(run), upper(run)
                FROM stream_sequences LEFT JOIN LATERAL unnest(seen) AS run ON TRUE
                WHERE feed = %s ORDER BY 1, 2, 3
                """,
                (self._spec.name,),
            )
            rows = await cursor.fetchall()
        except psycopg.Error as error:
            raise await self._failed(error) from error
        sequences: dict[ShardEpoch, RangeSet] = {}
        for shard, epoch, start, end in rows:
            ranges = sequences.setdefault((shard, epoch), RangeSet())
            if start is not None:
                ranges.add(start, end)
        return sequences

    async def put(self, batch: Prepared[T], epochs: Mapping[int, int]) -> None:
        """
        Store a batch, all of it or nothing; bad rows move to `batch.parked`.

        A crash before the commit leaves no trace; after it, `claim` goes on behind the batch. A
        commit whose answer was lost is recognised when the batch is put again.

        Args:
            batch: What to store.
            epochs: This consumer's lease epoch, by partition.

        Raises:
            OwnershipLost: If a partition was claimed by another consumer.
            DatabaseUnavailable: If Postgres is away or short of something: put it again later.
        """
        connection = await self._open()
        try:
            await self._make_months(connection, batch)
            try:
                async with connection.transaction():
                    await self._write(connection, batch, epochs, bisect=False)
            except psycopg.Error as error:
                if disposition(error) is not Disposition.PARK:
                    raise
                async with connection.transaction():
                    await self._write(connection, batch, epochs, bisect=True)
        except psycopg.Error as error:
            raise await self._failed(error) from error

    async def _write(
        self, connection: Connection, batch: Prepared[T], epochs: Mapping[int, int], *, bisect: bool
    ) -> None:
        if not await self._move_offsets(connection, batch, epochs):
            return
        if batch.items:
            if bisect:
                await self._copy_good(connection, batch)
            else:
                await self._copy_rows(connection, batch.items)
        if batch.bars:
            await self._write_bars(connection, batch)
        await self._write_tallies(connection, batch)
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

    async def _move_offsets(
        self, connection: Connection, batch: Prepared[T], epochs: Mapping[int, int]
    ) -> bool:
        """Return False if this very batch is stored already: its commit's answer was lost."""
        for partition, next_offset in batch.next_offsets.items():
            cursor = await connection.execute(
                _MOVE_OFFSET,
                (
                    next_offset,
                    batch.redelivered.get(partition, 0),
                    zlib.crc32(batch.tails[partition]),
                    self._topic,
                    partition,
                    epochs[partition],
                    batch.first_offsets[partition],
                ),
            )
            if cursor.rowcount == 0:
                cursor = await connection.execute(
                    "SELECT next_offset FROM stream_offsets "
                    "WHERE topic = %s AND partition = %s AND epoch = %s",
                    (self._topic, partition, epochs[partition]),
                )
                if await cursor.fetchone() == (next_offset,):
                    return False
                raise OwnershipLost(
                    f"{self._topic}/{partition}: another consumer stored past "
                    f"offset {batch.first_offsets[partition]}"
                )
        return True

    async def _copy_rows(self, connection: Connection, items: Sequence[Item[T]]) -> None:
        text = "".join([item.line for item in items]).encode()
        async with connection.cursor() as cursor:
            if self._spec.latest_table is None:
                async with cursor.copy(self._copy) as copy:
                    await copy.write(text)
                return
            # The rows go through a staging table, which also updates the table of latest rows.
            copy_new = sql.SQL("COPY new_rows ({columns}) FROM STDIN").format(**self._names)
            async with cursor.copy(copy_new) as copy:
                await copy.write(text)
            await cursor.execute(sql.SQL(_LATEST_ROWS).format(**self._names))
            await cursor.execute(sql.SQL(_HISTORY_ROWS).format(**self._names))
            await cursor.execute("TRUNCATE new_rows")

    async def _copy_good(self, connection: Connection, batch: Prepared[T]) -> None:
        """Copy what Postgres takes; find what it does not by halving, and park it."""
        good: list[Item[T]] = []
        await self._halve(connection, batch.items, good=good, batch=batch)
        batch.items = good
        by_owner: dict[ShardEpoch, int] = {}
        for item in good:
            owner = (item.record.pod_index, item.record.epoch)
            by_owner[owner] = by_owner.get(owner, 0) + 1
        for owner, tally in batch.tallies.items():
            rejected = tally.stored - by_owner.get(owner, 0)
            tally.stored -= rejected
            tally.parked += rejected
        batch.bars, batch.newest = {}, {}
        summarise(self._layout, batch.items, batch.bars, batch.newest)

    async def _halve(
        self,
        connection: Connection,
        items: Sequence[Item[T]],
        *,
        good: list[Item[T]],
        batch: Prepared[T],
    ) -> None:
        try:
            async with connection.transaction():
                await self._copy_rows(connection, items)
        except psycopg.Error as error:
            if disposition(error) is not Disposition.PARK:
                raise
            if len(items) == 1:
                batch.parked.append(_refused(items[0], error))
                return
            middle = len(items) // 2
            await self._halve(connection, items[:middle], good=good, batch=batch)
            await self._halve(connection, items[middle:], good=good, batch=batch)
        else:
            good.extend(items)

    async def _write_bars(self, connection: Connection, batch: Prepared[T]) -> None:
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

    async def _write_tallies(self, connection: Connection, batch: Prepared[T]) -> None:
        feed = self._spec.name
        for (shard, epoch), tally in sorted(batch.tallies.items()):
            event_at = None if tally.last_event_ms is None else from_ms(tally.last_event_ms)
            await connection.execute(
                _SEQUENCES,
                (
                    feed, shard, epoch, multirange(tally.ranges), tally.stored, tally.parked,
                    tally.notices, tally.last_received, event_at,
                ),
            )  # fmt: skip
        for shard, (records, symbols) in sorted(_by_shard(batch.tallies).items()):
            await connection.execute(_STATISTICS, (feed, shard, records, sorted(symbols)))

    def _parked_row(self, parked: Parked) -> tuple[object, ...]:
        message = parked.message
        payload = message.value or b"" if parked.payload is None else parked.payload
        return (
            self._spec.name, self._topic, message.partition, message.offset, parked.shard,
            parked.epoch, parked.seq, message.key, payload, parked.reason,
            parked.detail.replace("\x00", ""),
        )  # fmt: skip

    async def _make_months(self, connection: Connection, batch: Prepared[T]) -> None:
        """Make the monthly partitions that the batch needs and that were not made ahead."""
        needed: set[tuple[str, int, int]] = set()
        for received in {item.received[:7] for item in batch.items}:
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

    async def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            connection = await connect(self._dsn, name=self._name)
            try:
                await connection.execute(_NEW_BARS)
                await connection.execute(sql.SQL(_NEW_ROWS).format(**self._names))
            except psycopg.Error as error:
                await connection.close()
                raise await self._failed(error) from error
            self._connection = connection
        return self._connection

    async def _failed(self, error: psycopg.Error) -> PipelineError:
        """Return what to raise; after an outage the connection is opened anew."""
        await self.close()
        text = (str(error).splitlines() or [type(error).__name__])[0]
        if disposition(error) is Disposition.GIVE_UP:
            # A missing column or right: waiting costs nothing, dropping the data would.
            return DatabaseUnavailable(
                f"Postgres refuses to store {self._spec.table}: {text}",
                fix="run `ray-pipeline migrate`, and check the role's rights",
            )
        return DatabaseUnavailable(f"Postgres is away: {text}")


def _refused(item: Item[T], error: psycopg.Error) -> Parked:
    record = item.record
    return Parked(
        item.message,
        "duplicate" if error.sqlstate == UNIQUE_VIOLATION else f"refused_{error.sqlstate}",
        (str(error).splitlines() or [""])[0],
        shard=record.pod_index,
        epoch=record.epoch,
        seq=record.seq,
    )


def _by_shard(tallies: Mapping[ShardEpoch, Tally]) -> dict[int, tuple[int, set[str]]]:
    shards: dict[int, tuple[int, set[str]]] = {}
    for (shard, _), tally in tallies.items():
        records, symbols = shards.get(shard, (0, set()))
        shards[shard] = (records + tally.stored, symbols | tally.symbols)
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

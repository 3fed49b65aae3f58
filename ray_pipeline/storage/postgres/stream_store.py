"""
Store batches in Postgres: rows, bars, numbers and offsets in one transaction.

"Exactly once" rests on that. The offset moves only from where this owner left it and only under
this owner's epoch; if its row does not move, another consumer owns the partition and nothing of
the batch is stored.
"""

import logging
import zlib
from collections.abc import Mapping
from typing import Generic, LiteralString, TypeVar

import psycopg

from ray_pipeline.errors import DatabaseUnavailable, OwnershipLost
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.layout import Layout
from ray_pipeline.feeds.records import Record
from ray_pipeline.storage.postgres.batch_writer import BatchWriter
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.storage.postgres.database_errors import first_line
from ray_pipeline.storage.postgres.database_session import DatabaseSession
from ray_pipeline.storage.postgres.row_isolation import may_be_about_a_row
from ray_pipeline.storage.postgres.snapshot_rows import read_trades
from ray_pipeline.stream.batch import RecordBatch, ShardEpoch
from ray_pipeline.stream.consumer_ports import ResumePoint
from ray_pipeline.stream.seen_trades import TickerTrade
from ray_pipeline.stream.sequence import RangeSet

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Record)

CLAIM_TIMEOUT_MS = 2_000  # longer than any transaction of a living owner

_MOVE_OFFSET = """
    UPDATE stream_offsets SET next_offset = %s, redelivered = redelivered + %s, tail_crc = %s,
        updated_at = now()
    WHERE topic = %s AND partition = %s AND epoch = %s AND next_offset = %s
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
_REWIND: LiteralString = """
    UPDATE stream_offsets SET next_offset = %s, tail_crc = NULL
    WHERE topic = %s AND partition = %s AND epoch = %s
"""
_SEQUENCES = """
    SELECT shard, epoch, lower(run), upper(run)
    FROM stream_sequences LEFT JOIN LATERAL unnest(seen) AS run ON TRUE
    WHERE feed = %s ORDER BY 1, 2, 3
"""


class StreamStore(Generic[T]):
    """The history of one feed; implements `stream.consumer_ports.HistoryStore`."""

    def __init__(self, dsn: str, spec: Feed, layout: Layout[T], *, topic: str) -> None:
        self._spec = spec
        self._topic = topic
        self._name = f"ray-pipeline store {spec.name}"
        self._writer: BatchWriter[T] = BatchWriter(spec, layout, topic=topic)
        # No time limit: a batch may take long, and the lease decides who may store it.
        self._session = DatabaseSession(
            dsn, name=self._name, timeout_s=None, setup=self._writer.setup
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()

    async def claim(self, partition: int, epoch: int) -> ResumePoint:
        """
        Take over a partition under a newer lease and return where it was stored up to.

        Raises:
            OwnershipLost: If an owner with a newer lease has claimed it.
            DatabaseUnavailable: If Postgres is away.
        """
        async with self._session.connection() as connection:
            try:
                async with connection.transaction():
                    await connection.execute(f"SET LOCAL lock_timeout = {CLAIM_TIMEOUT_MS}")
                    cursor = await connection.execute(_CLAIM, (self._topic, partition, epoch))
                    row = await cursor.fetchone()
            except psycopg.errors.LockNotAvailable as error:
                # The previous owner froze inside a transaction. Its lease is over: end its session.
                await connection.execute(_END_FROZEN, (self._name, CLAIM_TIMEOUT_MS))
                raise DatabaseUnavailable(
                    f"{self._topic}/{partition} was locked by an owner after the end of its lease"
                ) from error
        if row is None:
            raise OwnershipLost(f"{self._topic}/{partition} has an owner newer than epoch {epoch}")
        return ResumePoint(None if row[0] < 0 else row[0], row[1])

    async def rewind(self, partition: int, epoch: int, offset: int) -> None:
        """
        Set a partition's next offset, at its first use or after the broker lost its log.

        Raises:
            OwnershipLost, DatabaseUnavailable: As for `claim`.
        """
        async with self._session.connection() as connection:
            cursor = await connection.execute(_REWIND, (offset, self._topic, partition, epoch))
        if cursor.rowcount == 0:
            raise OwnershipLost(f"{self._topic}/{partition} was claimed by another consumer")

    async def sequences(self) -> dict[ShardEpoch, RangeSet]:
        """
        Return which numbers are stored, by (shard, epoch).

        Raises:
            DatabaseUnavailable: If Postgres is away.
        """
        async with self._session.connection() as connection:
            cursor = await connection.execute(_SEQUENCES, (self._spec.name,))
            rows = await cursor.fetchall()
        sequences: dict[ShardEpoch, RangeSet] = {}
        for shard, epoch, start, end in rows:
            ranges = sequences.setdefault((shard, epoch), RangeSet())
            if start is not None:
                ranges.add(start, end)
        return sequences

    async def trades(self) -> list[TickerTrade]:
        """
        Return the newest trades of each symbol, oldest first, for a feed with snapshots.

        Raises:
            DatabaseUnavailable: If Postgres is away.
        """
        async with self._session.connection() as connection:
            return await read_trades(connection, self._spec)

    async def put(self, batch: RecordBatch[T], epochs: Mapping[int, int]) -> None:
        """
        Store a batch, all of it or nothing; records that Postgres refuses move to `batch.parked`.

        A crash before the commit leaves no trace; after it, `claim` continues behind the batch. If
        the answer to a commit was lost, putting the batch again recognises that it is stored.

        Args:
            batch: What to store. It changes only after a commit.
            epochs: This consumer's lease epoch, by partition.

        Raises:
            OwnershipLost: If a partition was claimed by another consumer.
            DatabaseUnavailable: If Postgres is away, short of something, or its schema, rights or
                triggers refuse every record: put it again later.
        """
        async with self._session.connection() as connection:
            try:
                await self._writer.make_months(connection, batch)
                async with connection.transaction():
                    if await self._move_offsets(connection, batch, epochs):
                        await self._writer.write(connection, batch)
                self._writer.committed(batch)
            except Exception as error:
                if not may_be_about_a_row(error):
                    raise
                log.warning("a batch of %s is refused: %s", self._spec.name, first_line(error))
                await self._put_accepted(connection, batch, epochs)

    async def _put_accepted(
        self, connection: Connection, batch: RecordBatch[T], epochs: Mapping[int, int]
    ) -> None:
        """Store the batch once more, with every refused record as a dead letter."""
        written = batch
        async with connection.transaction():
            if await self._move_offsets(connection, batch, epochs):
                written = await self._writer.write_accepted(connection, batch)
        batch.become(written)

    async def _move_offsets(
        self, connection: Connection, batch: RecordBatch[T], epochs: Mapping[int, int]
    ) -> bool:
        """Return False if this batch is already stored: the answer to its commit was lost."""
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

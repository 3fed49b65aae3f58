"""
Send mutated frames of a venue through parse, encode, the consumer's batch, and Postgres.

Each case is three frames. The second one is a recorded frame, mutated. Every record that the
frames become is stored or parked, and the records of the first and the third frame are stored.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from random import Random
from typing import Any

import psycopg

from ray_pipeline.errors import FeedRefused
from ray_pipeline.feeds import codec
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.feeds.protocol import Complaint, RefusedPart
from ray_pipeline.feeds.records import Record, to_ms
from ray_pipeline.simulators.options import Options
from ray_pipeline.simulators.venue_registry import venue_simulators
from ray_pipeline.storage.postgres.stream_store import StreamStore
from ray_pipeline.stream.batch import Message
from ray_pipeline.stream.batch_builder import BatchBuilder
from ray_pipeline.stream.ingest import Intake, NoticeWriter, Origin
from tests.fuzz.case import Case
from tests.fuzz.mutations import MUTATIONS, Original, Sent

EPOCH = 1
FUTURE_TOLERANCE_MS = 300_000
SHARD = 1
SYMBOLS = (
    "KRW-BTC",
    "KRW-ETH",
    "KRW-XRP",
)  # Finnhub sends any symbol


@dataclass
class ListOutbox:
    """Keeps the records with their keys."""

    epoch: int = EPOCH
    records: list[tuple[str, Record]] = field(default_factory=list)

    def next_seq(self) -> int:
        """Return the number of the next record."""
        return len(self.records) + 1

    def put(self, key: str, record: Record, *, received_at: datetime) -> None:
        """Keep a record."""
        self.records.append((key, record))


@dataclass
class FeedFuzzer:
    """
    Fuzzes one feed.

    Attributes:
        feed: The feed.
        dsn: A database with the schema.
        frames: Correct frames, one record each: the neighbours of the mutated one.
        originals: The frames that are mutated: recorded ones.
        foreign: Frames and bodies of other venues.
    """

    feed: Feed
    dsn: str
    frames: Sequence[bytes]
    originals: Sequence[bytes]
    foreign: Sequence[bytes]

    async def case(self, *, seed: int, number: int) -> Case:
        """Store one mutated frame between two correct ones."""
        random = Random(f"{seed} {self.feed.name} {number}")
        name, sent = self._mutated(random, seed=seed, number=number)
        before, after = self.frames[0], self.frames[-1]
        outbox = ListOutbox()
        try:
            self._take(outbox, before, sent.body, after)
            values = [
                (key.encode("utf-8", "replace"), codec.encode(r)) for key, r in outbox.records
            ]
            await self._store(values)
        except Exception as error:
            text = f"uncaught {type(error).__name__}: {str(error)[:200]}"
            return Case(self.feed.name, name, number, "exception", (text,))
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            broken = tuple(self._violations(connection, len(outbox.records)))
        return Case(self.feed.name, name, number, "stored", broken)

    def original(self, *, seed: int, number: int) -> bytes:
        """
        Return the frame that a case mutates: in turn one with data and one without.

        Frames without data are control frames, errors and frames of other streams, of which there
        are hundreds. Each frame of its kind comes once before any is repeated. The order does not
        depend on that of the mutations, so that they meet in ever new pairs.
        """
        frames = self._by_data[not number % 2] or self.originals
        order = Random(f"{seed} {self.feed.name} frames").sample(frames, len(frames))
        return order[number // 2 % len(order)]

    @cached_property
    def _by_data(self) -> Mapping[bool, Sequence[bytes]]:
        by_data: dict[bool, list[bytes]] = {True: [], False: []}
        for frame in self.originals:
            by_data[self._has_data(frame)].append(frame)
        return by_data

    def _has_data(self, frame: bytes) -> bool:
        try:
            parts = self.feed.protocol.parse(frame)
        except FeedRefused:
            return False
        return any(not isinstance(part, RefusedPart | Complaint) for part in parts)

    def _mutated(self, random: Random, *, seed: int, number: int) -> tuple[str, Sent]:
        names = Random(f"{seed} {self.feed.name}").sample(sorted(MUTATIONS), len(MUTATIONS))
        original = Original(
            self.original(seed=seed, number=number), "application/json", self.foreign
        )
        for shift in range(len(names)):
            name = names[(number + shift) % len(names)]
            sent = MUTATIONS[name](original, random)
            if sent is not None:
                return name, sent
        raise AssertionError("no mutation fits")

    def _take(self, outbox: ListOutbox, *frames: bytes) -> None:
        notices = NoticeWriter(outbox, Origin(SHARD, f"{self.feed.name}-01"))
        intake = Intake(notices, self.feed, future_tolerance_ms=FUTURE_TOLERANCE_MS)
        for frame in frames:
            try:
                intake.take(frame, datetime.now(UTC))
            except FeedRefused:
                continue  # the venue ends the connection; the next one brings the next frame

    async def _store(self, values: Sequence[tuple[bytes, bytes]]) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for table in (self.feed.table, "dead_letters", "gaps", "stream_offsets"):
                connection.execute(f"DELETE FROM {table}".encode())
            connection.execute("DELETE FROM stream_sequences")
        layout = self.feed.layout
        builder: BatchBuilder[Any] = BatchBuilder(
            layout, future_tolerance_ms=FUTURE_TOLERANCE_MS, arrivals={}, newest={}
        )
        now_ms = to_ms(datetime.now(UTC))
        batch = builder.begin()
        messages = [
            Message(0, offset, now_ms, key, value) for offset, (key, value) in enumerate(values)
        ]
        builder.extend(batch, messages, now_ms=now_ms)
        store: StreamStore[Any] = StreamStore(self.dsn, self.feed, layout, topic=self.feed.topic)
        try:
            await store.claim(0, EPOCH)
            await store.rewind(0, EPOCH, 0)
            await store.put(builder.finish(batch), {0: EPOCH})
        finally:
            await store.close()

    def _violations(self, connection: psycopg.Connection[Any], records: int) -> Iterator[str]:
        stored = _count(connection, self.feed.table)
        parked = _count(connection, "dead_letters") + _count(connection, "gaps")
        if stored + parked != records:
            yield f"{records} records: {stored} stored and {parked} parked"
        if stored < 2:
            yield f"{stored} of the 2 neighbours are stored"


def _count(connection: psycopg.Connection[Any], table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def feed_names() -> list[str]:
    """Return the names of the feeds."""
    return [feed.name for feed in FEEDS]


def neighbours_of(feed: Feed) -> list[bytes]:
    """Return correct frames of a feed's venue, one record each, with the present time."""
    made = venue_simulators()[feed.simulator].make(Options())
    return [frame.text.encode() for symbol in SYMBOLS for frame in made.generate([symbol], 1)]

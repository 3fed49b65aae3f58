"""Moving records: the offset is stored with its records, and neither store waits for the other."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal

import pytest

from ray_pipeline.errors import (
    BrokerUnavailable,
    DatabaseUnavailable,
    LogReplaced,
    OwnershipLost,
    PipelineError,
)
from ray_pipeline.feeds import codec
from ray_pipeline.feeds.records import Trade
from ray_pipeline.feeds.sp500 import FEED as SP500
from ray_pipeline.stream.batch import Message, RecordBatch
from ray_pipeline.stream.batch_builder import BatchBuilder
from ray_pipeline.stream.cache import LatestValue
from ray_pipeline.stream.consume import STORING, WAITING_FOR_BROKER, Consumer
from ray_pipeline.stream.consumer_ports import ConsumerStatus
from tests.virtual_time import START, now_s, until_s, virtual_time

START_MS = int(START.timestamp() * 1000)
BATCH_ROWS = 10
EPOCHS = {0: 4}


def message(seq: int, *, offset: int | None = None, value: bytes | None = None) -> Message:
    """The trade with a number, at the offset before it."""
    trade = Trade("AAPL", Decimal(seq), Decimal(1), START_MS + seq, 1, seq)
    return Message(
        0, seq - 1 if offset is None else offset, START_MS, b"AAPL", value or codec.encode(trade)
    )


class FakeTopic:
    """Messages of partition 0; a poll without any lasts its whole timeout."""

    def __init__(self) -> None:
        self.unread: list[Message] = []
        self.failure: Exception | None = None
        self.largest_poll = 0

    async def poll(self, *, timeout_s: float, max_records: int) -> Sequence[Message]:
        if self.failure is not None:
            raise self.failure
        self.largest_poll = max(self.largest_poll, max_records)
        if not self.unread:
            await asyncio.sleep(timeout_s)
        messages, self.unread = self.unread[:max_records], self.unread[max_records:]
        return messages

    def lag(self) -> Mapping[int, int]:
        return {0: len(self.unread)}


class FakeStore:
    """Keeps what it stores; a test can block it or let it fail."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.failure: Exception | None = None
        self.batches: list[list[int]] = []
        self.offsets: list[Mapping[int, int]] = []
        self.epochs: list[Mapping[int, int]] = []
        self.stored_at_s: list[float] = []
        self.attempts = 0

    async def put(self, batch: RecordBatch[Trade], epochs: Mapping[int, int]) -> None:
        self.attempts += 1
        if self.failure is not None:
            raise self.failure
        await self.open.wait()
        self.batches.append([row.record.seq for row in batch.rows])
        self.offsets.append(dict(batch.next_offsets))
        self.epochs.append(epochs)
        self.stored_at_s.append(now_s())

    @property
    def seqs(self) -> list[int]:
        """The stored numbers, in their order."""
        return [seq for batch in self.batches for seq in batch]


class FakeCacheWriter:
    """Keeps the offered values."""

    def __init__(self) -> None:
        self.offers: list[list[LatestValue]] = []

    def offer(self, values: Sequence[LatestValue]) -> None:
        self.offers.append(list(values))


class Bench:
    """A consumer of partition 0 with fake ports."""

    def __init__(self) -> None:
        self.topic, self.store, self.cache = FakeTopic(), FakeStore(), FakeCacheWriter()
        self.status = ConsumerStatus()
        self.stop = asyncio.Event()
        self.consumer = Consumer(
            self.topic,
            self.store,
            self.cache,
            layout=SP500.layout,
            builder=BatchBuilder(SP500.layout, future_tolerance_ms=60_000, arrivals={}, newest={}),
            epochs=EPOCHS,
            batch_rows=BATCH_ROWS,
            status=self.status,
            clock=lambda: START.timestamp() + now_s(),
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the consumer for the length of a block, then stop it."""
        task = asyncio.create_task(self.consumer.run(self.stop))
        try:
            yield
        finally:
            self.stop.set()
            await task

    def publish(self, *seqs: int) -> None:
        """Append the trades with these numbers to the topic."""
        self.topic.unread += [message(seq) for seq in seqs]


@virtual_time
async def test_records_and_the_offset_after_them_are_stored_together():
    """In one call under the lease epochs: a crash cannot separate them."""
    bench = Bench()
    bench.publish(1, 2, 3)
    async with bench.running():
        await until_s(1)

    assert bench.store.batches == [[1, 2, 3]]
    assert bench.store.offsets == [{0: 3}]
    assert bench.store.epochs == [EPOCHS]
    assert (bench.status.stored, bench.status.offsets) == (3, {0: 3})


@virtual_time
async def test_an_outage_of_postgres_repeats_the_batch_and_reports_no_offset():
    """A reported offset means that the records are safe."""
    bench = Bench()
    bench.store.failure = DatabaseUnavailable("it does not answer")
    bench.publish(1, 2)
    async with bench.running():
        await until_s(10)
        assert bench.store.attempts > 1
        assert (bench.status.state, bench.status.cause) == (
            "waiting for postgres", "it does not answer",
        )  # fmt: skip
        assert (bench.status.stored, bench.status.offsets) == (0, {})
        bench.store.failure = None
        await until_s(20)
        assert (bench.status.state, bench.status.cause) == (STORING, "")

    assert bench.store.batches == [[1, 2]]
    assert bench.status.offsets == {0: 2}


@virtual_time
async def test_the_cache_does_not_wait_for_postgres():
    """It receives the newest value of each symbol and second, and the next ones meanwhile."""
    bench = Bench()
    bench.store.failure = DatabaseUnavailable("it does not answer")
    bench.publish(1, 2)
    async with bench.running():
        await until_s(1)
        bench.publish(3)
        await until_s(2)
        assert bench.store.batches == []
        assert [[value.event_ms - START_MS for value in offer] for offer in bench.cache.offers] == [
            [2], [3],
        ]  # fmt: skip
        bench.store.failure = None


@virtual_time
async def test_records_that_arrive_during_a_transaction_form_one_batch():
    """Under load a transaction per record would be too slow."""
    bench = Bench()
    bench.store.open.clear()
    async with bench.running():
        for seq in range(1, 6):
            bench.publish(seq)
            await until_s(seq)
        bench.store.open.set()
        await until_s(7)

    assert bench.store.batches == [[1], [2, 3, 4, 5]]


@virtual_time
async def test_a_waiting_batch_is_stored_as_soon_as_the_store_is_idle():
    """It does not wait for the end of the poll."""
    bench = Bench()
    bench.store.open.clear()
    async with bench.running():
        bench.publish(1)
        await until_s(0.5)
        bench.publish(2)
        await until_s(1.05)
        bench.store.open.set()
        await until_s(2)

    assert bench.store.stored_at_s == pytest.approx([1.05, 1.05])


@virtual_time
async def test_a_batch_has_at_most_its_rows_and_a_blocked_store_stops_the_reading():
    """The memory stays bounded in an outage; the broker keeps the rest."""
    bench = Bench()
    bench.store.open.clear()
    count = 20 * BATCH_ROWS
    async with bench.running():
        for first, last in ((1, 1), (2, 4), (5, count)):
            bench.publish(*range(first, last + 1))
            await until_s(now_s() + 10)
        assert len(bench.topic.unread) >= count - 3 * BATCH_ROWS
        assert bench.status.lag == {0: len(bench.topic.unread)}
        bench.store.open.set()
        await until_s(60)

    assert bench.topic.largest_poll == BATCH_ROWS
    assert max(len(batch) for batch in bench.store.batches) == BATCH_ROWS
    assert bench.store.seqs == list(range(1, count + 1))


@virtual_time
async def test_a_stop_stores_what_was_read():
    """Both the batch in the transaction and the open one."""
    bench = Bench()
    bench.store.open.clear()
    bench.publish(1)
    async with bench.running():
        await until_s(1)
        bench.publish(2, 3)
        await until_s(2)
        bench.stop.set()
        await until_s(3)
        assert bench.store.batches == []
        bench.publish(4)
        bench.store.open.set()

    assert bench.store.batches == [[1], [2, 3]]
    assert len(bench.topic.unread) == 1


@virtual_time
async def test_a_repeated_record_is_counted_and_its_offset_advances():
    """The producer sends a record again if it saw no acknowledgement."""
    bench = Bench()
    bench.topic.unread = [message(1), message(1, offset=1), message(2, offset=2)]
    async with bench.running():
        await until_s(1)

    assert bench.store.seqs == [1, 2]
    assert (bench.status.stored, bench.status.redelivered) == (2, 1)
    assert bench.status.offsets == {0: 3}


@virtual_time
async def test_a_record_that_cannot_be_decoded_is_stored_as_a_dead_letter():
    """It must neither stop the partition nor vanish."""
    bench = Bench()
    bench.topic.unread = [message(1, value=b"{broken"), message(2)]
    async with bench.running():
        await until_s(1)

    assert bench.store.seqs == [2]
    assert (bench.status.stored, bench.status.parked) == (1, 1)
    assert bench.status.offsets == {0: 2}


@virtual_time
async def test_a_quiet_topic_stores_nothing():
    """An empty transaction every poll would load Postgres for nothing."""
    bench = Bench()
    async with bench.running():
        await until_s(10)

    assert bench.store.attempts == 0
    assert bench.cache.offers == []


@virtual_time
async def test_an_outage_of_the_broker_is_waited_out():
    """Its end shows at once, even if no record arrives."""
    bench = Bench()
    async with bench.running():
        await until_s(1)
        bench.topic.failure = BrokerUnavailable("it does not answer")
        await until_s(2)
        assert (bench.status.state, bench.status.cause) == (
            WAITING_FOR_BROKER, "it does not answer",
        )  # fmt: skip
        bench.topic.failure = None
        await until_s(10)
        assert (bench.status.state, bench.status.cause) == (STORING, "")
        bench.publish(1)
        await until_s(11)

    assert bench.store.seqs == [1]


@virtual_time
@pytest.mark.parametrize("error", [OwnershipLost("newer owner"), PipelineError("a bug")])
async def test_any_other_error_of_the_store_ends_the_consumer(error):
    """Another consumer may own the partition: nothing more must be stored."""
    bench = Bench()
    bench.store.failure = error
    bench.publish(*range(1, 5 * BATCH_ROWS))

    with pytest.raises(ExceptionGroup) as raised:
        await bench.consumer.run(bench.stop)

    assert raised.value.exceptions == (error,)
    assert bench.store.attempts == 1


@virtual_time
async def test_a_replaced_log_ends_the_consumer():
    """Waiting would not help: the next offset does not exist any more."""
    bench = Bench()
    error = LogReplaced("offset 7 is out of range")
    bench.topic.failure = error

    with pytest.raises(ExceptionGroup) as raised:
        await bench.consumer.run(bench.stop)

    assert raised.value.exceptions == (error,)


@virtual_time
async def test_the_latency_is_measured_from_the_receipt_to_the_commit():
    """Trades without a time of receipt have the broker's."""
    bench = Bench()
    bench.store.open.clear()
    bench.publish(1)
    async with bench.running():
        await until_s(2.5)
        bench.store.open.set()
        await until_s(3)

    assert list(bench.status.latencies_ms) == pytest.approx([2_500.0])
    assert bench.status.last_stored_at_s == pytest.approx(START.timestamp() + 2.5)

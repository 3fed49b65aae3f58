"""
Run this pipeline's consumer in a process until standard input ends: `consume.py [SAMPLES]`.

With a file for samples, it records when a poll returned, when a batch was committed and when
entries were written. This costs one clock reading and one list append per batch; the times are
assigned to records after the end.
"""

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from ray_pipeline import settings
from ray_pipeline.services import partition_consumer_wiring as wiring
from ray_pipeline.storage.kafka.reader import KafkaLog
from ray_pipeline.storage.kafka.topics import ensure_topics
from ray_pipeline.storage.postgres.stream_store import StreamStore
from ray_pipeline.storage.redis.latest_cache import LatestCache
from ray_pipeline.stream.batch import Message, RecordBatch, RecordRow
from ray_pipeline.stream.cache import CacheUsage, LatestValue


class Sample(msgspec.Struct, array_like=True):
    """
    The times of one record in the chain, Unix times in seconds.

    Attributes:
        sent_s: The time of the simulator, truncated to milliseconds.
        received_s: When the producer had received its frame.
        published_s: When the producer passed it to Kafka's client, truncated to milliseconds.
        polled_s: When the consumer had received it from the broker.
        committed_s: When Postgres had confirmed the commit.
        visible_s: When Redis had confirmed the write; None if it was not written.
    """

    sent_s: float
    received_s: float
    published_s: float
    polled_s: float
    committed_s: float
    visible_s: float | None


@dataclass(slots=True)
class Probe:
    """The recorded times in order; `written` has the begin and the end of each write."""

    polled: list[tuple[float, Sequence[Message]]] = field(default_factory=list)
    committed: list[tuple[float, Sequence[RecordRow[Any]]]] = field(default_factory=list)
    written: list[tuple[float, float, Sequence[LatestValue]]] = field(default_factory=list)

    def samples(self) -> Iterator[Sample]:
        """Yield every committed record's sample."""
        polled_s = {
            (message.partition, message.offset): at_s
            for at_s, messages in self.polled
            for message in messages
        }
        writes: dict[str, list[tuple[float, float, int]]] = {}
        for began_s, done_s, entries in self.written:
            for entry in entries:
                writes.setdefault(entry.symbol, []).append((began_s, done_s, entry.event_ms))
        reached = dict.fromkeys(writes, 0)
        for committed_s, items in self.committed:
            for item in items:
                record = item.record
                at_s = polled_s[item.message.partition, item.message.offset]
                # The first write that began after the poll and contains this value or a newer one.
                of_symbol = writes.get(record.symbol, [])
                index = reached.get(record.symbol, 0)
                while index < len(of_symbol) and (
                    of_symbol[index][0] < at_s or of_symbol[index][2] < record.timestamp_ms
                ):
                    index += 1
                reached[record.symbol] = index
                yield Sample(
                    record.timestamp_ms / 1000,
                    record.created_at.timestamp(),
                    item.message.timestamp_ms / 1000,
                    at_s,
                    committed_s,
                    of_symbol[index][1] if index < len(of_symbol) else None,
                )


def watch(probe: Probe) -> None:
    """Replace the ports of the consumers in this process by ones that report to `probe`."""

    class WatchedLog(KafkaLog):
        async def poll(self, *, timeout_s: float, max_records: int) -> Sequence[Message]:
            messages = await super().poll(timeout_s=timeout_s, max_records=max_records)
            probe.polled.append((time.time(), messages))
            return messages

    class WatchedStore(StreamStore[Any]):
        async def put(self, batch: RecordBatch[Any], epochs: Mapping[int, int]) -> None:
            await super().put(batch, epochs)
            probe.committed.append((time.time(), batch.rows))

    class WatchedCache(LatestCache):
        async def write(
            self, values: Sequence[LatestValue], *, complete_until_s: float
        ) -> CacheUsage | None:
            began_s = time.time()
            usage = await super().write(values, complete_until_s=complete_until_s)
            probe.written.append((began_s, time.time(), values))
            return usage

    for name, port in (("KafkaLog", WatchedLog), ("StreamStore", WatchedStore),
                       ("LatestCache", WatchedCache)):  # fmt: skip
        setattr(wiring, name, port)


async def main(probe: Probe | None) -> None:
    """Store the S&P 500 trades; print `ready` when the consumer runs."""
    if probe is not None:
        watch(probe)
    configured = settings.load()
    await ensure_topics(configured)
    wiring.tune_garbage_collector()
    service = wiring.build_consumer(configured, "sp500", partitions=[0, 1, 2])
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
    running = asyncio.create_task(service.run())
    while service.status.state != "storing":
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await ended.wait()
    asyncio.get_running_loop().remove_reader(sys.stdin)
    service.stop()
    await running


if __name__ == "__main__":
    watched = Probe() if len(sys.argv) > 1 else None
    uvloop.run(main(watched))
    if watched is not None:
        Path(sys.argv[1]).write_bytes(msgspec.json.encode(list(watched.samples())))

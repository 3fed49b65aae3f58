"""Where a partition resumes: at the stored offset, unless the broker has replaced its log."""

import logging
from typing import TypeVar

from ray_pipeline.feeds.records import Record
from ray_pipeline.stream.consumer_ports import ConsumerRecords, HistoryStore, TopicReader

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Record)


async def resume_offset(
    store: HistoryStore[T],
    reader: TopicReader,
    records: ConsumerRecords,
    *,
    name: str,
    partition: int,
    epoch: int,
    bounds: tuple[int, int],
) -> int:
    """Claim a partition and return the offset at which it resumes in the present log."""
    stored = await store.claim(partition, epoch)
    first, end = bounds
    if stored.next_offset is not None:
        if stored.next_offset >= first and await same_log(
            reader, partition, stored.next_offset, crc=stored.tail_crc, bounds=bounds
        ):
            return stored.next_offset
        # The gap is written before the rewind: a crash between them repeats the gap, the other
        # order would lose it.
        cause = f"stored up to {stored.next_offset}, log {first}..{end}"
        log.warning("%s: the broker's log was replaced: %s", name, cause)
        await records.write_reset(partition, cause=f"broker lost the log of {name}: {cause}")
    await store.rewind(partition, epoch, first)
    return first


async def same_log(
    reader: TopicReader,
    partition: int,
    next_offset: int,
    *,
    crc: int | None,
    bounds: tuple[int, int],
) -> bool:
    """
    Return whether a partition's log is still the one that was read up to `next_offset`.

    A broker that lost its log begins again at offset 0. The bounds show that only while the new log
    is shorter than the old one; later, the checksum of the last record that was read does.
    """
    first, end = bounds
    if next_offset > end:
        return False
    if crc is None or next_offset <= first:
        return True  # the record before is unknown or deleted, so there is nothing to compare
    return await reader.tail_matches(partition, next_offset, crc)

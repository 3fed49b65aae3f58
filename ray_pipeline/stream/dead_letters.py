"""
Give a dead letter a new identity, so that it can go through Kafka once more.

A replayed dead letter gets a shard that no producer uses, a new epoch and a number from 1. The
identity is stored before anything is sent: if a crash follows Kafka's acknowledgement, the next
replay sends the same identity again, which the consumer recognises as a repeat.
"""

import re
from dataclasses import dataclass
from functools import cache

from ray_pipeline.feeds.codec import Decoder, encode, renumber
from ray_pipeline.feeds.records import REJECT_LIMIT_BYTES, Record, RecordIdentity, Reject

REPLAY_SHARDS = 1000  # shards from here on carry dead letters that were replayed
_RESERVATION = re.compile(r"replaying as shard (\d+), epoch (\d+), seq (\d+)")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A parked record, as far as a replay needs it."""

    id: int
    feed: str
    shard: int | None
    key: bytes | None
    payload: bytes
    reason: str
    detail: str
    resolution: str


def replay_shard(shard: int | None) -> int:
    """Return the shard that carries the replayed dead letters of a shard (None: shard 0)."""
    number = shard or 0
    return number if number >= REPLAY_SHARDS else REPLAY_SHARDS + number


def reservation(identity: RecordIdentity) -> str:
    """Return the note that a dead letter carries while it is replayed."""
    return f"replaying as shard {identity.shard}, epoch {identity.epoch}, seq {identity.seq}"


def reserved(resolution: str) -> RecordIdentity | None:
    """Return the identity in a note; None if it holds no identity."""
    match = _RESERVATION.fullmatch(resolution)
    return RecordIdentity(*(int(number) for number in match.groups())) if match else None


def readdress(dead_letter: DeadLetter, identity: RecordIdentity, kind: type[Record]) -> bytes:
    """
    Return the dead letter's payload as a record with a new identity.

    A payload that is still not a record is sent as a Reject, so that its number arrives and it is
    parked again.
    """
    try:
        value = renumber(dead_letter.payload, identity)
        _decoder(kind).decode(value)
    except Exception as error:
        return _still_bad(dead_letter, identity, str(error))
    return value


@cache
def _decoder(kind: type[Record]) -> Decoder[Record]:
    return Decoder(kind)


def _still_bad(dead_letter: DeadLetter, identity: RecordIdentity, why: str) -> bytes:
    return encode(
        Reject(
            epoch=identity.epoch,
            seq=identity.seq,
            pod_index=identity.shard,
            reason=dead_letter.reason,
            detail=f"replayed dead letter {dead_letter.id} is still not a record: {why}",
            payload=dead_letter.payload[:REJECT_LIMIT_BYTES].decode("utf-8", "replace"),
            size_bytes=len(dead_letter.payload),
        )
    )

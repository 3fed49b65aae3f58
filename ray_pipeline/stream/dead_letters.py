"""
Give a dead letter a new identity, so that it can go through Kafka once more.

A replayed letter gets a shard of its own beside the living ones, a fresh epoch and a number from 1.
The identity is written down before anything is sent: a crash between Kafka's acknowledgement and
our own note sends the same identity again, which the consumer recognises as a repeat.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

import msgspec

from ray_pipeline.errors import BadRecord
from ray_pipeline.feeds.codec import UNDECODABLE, Decoder, encode
from ray_pipeline.feeds.records import REJECT_LIMIT_BYTES, Identity, Record, Reject

REPLAY_SHARDS = 1000  # shards from here on carry dead letters that were replayed
_RESERVATION = re.compile(r"replaying as shard (\d+), epoch (\d+), seq (\d+)")
_fields = msgspec.json.Encoder(decimal_format="number")
_objects = msgspec.json.Decoder(dict[str, object], float_hook=Decimal)


@dataclass(frozen=True, slots=True)
class Letter:
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
    """Return the shard that carries the replayed letters of a shard; of none, those of shard 0."""
    number = shard or 0
    return number if number >= REPLAY_SHARDS else REPLAY_SHARDS + number


def reservation(identity: Identity) -> str:
    """Return the note that a letter carries while it is replayed."""
    return f"replaying as shard {identity.shard}, epoch {identity.epoch}, seq {identity.seq}"


def reserved(resolution: str) -> Identity | None:
    """Return the identity in a note, None where there is none."""
    match = _RESERVATION.fullmatch(resolution)
    return Identity(*(int(number) for number in match.groups())) if match else None


def readdress(letter: Letter, identity: Identity, kind: type[Record]) -> bytes:
    """
    Return the letter's payload as a record with a new identity.

    What still is no record leaves as a Reject, so that its number arrives and it is parked again.
    """
    try:
        fields = _objects.decode(letter.payload)
        if "kind" in fields:
            raise BadRecord("a notice is no data", reason="notice")
        value = _fields.encode(
            fields | {"pod_index": identity.shard, "epoch": identity.epoch, "seq": identity.seq}
        )
        _decoder(kind).decode(value)
    except (*UNDECODABLE, BadRecord) as error:
        return _still_bad(letter, identity, str(error))
    return value


@cache
def _decoder(kind: type[Record]) -> Decoder[Record]:
    return Decoder(kind)


def _still_bad(letter: Letter, identity: Identity, why: str) -> bytes:
    return encode(
        Reject(
            epoch=identity.epoch,
            seq=identity.seq,
            pod_index=identity.shard,
            reason=letter.reason,
            detail=f"replayed dead letter {letter.id} is still no record: {why}",
            payload=letter.payload[:REJECT_LIMIT_BYTES].decode("utf-8", "replace"),
            size_bytes=len(letter.payload),
        )
    )

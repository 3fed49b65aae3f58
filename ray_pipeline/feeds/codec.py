"""
Records to bytes and back: JSON with exact numbers.

Every value carries the version of its format in the field `v`. Values without it were written by
older generations and are of version 1. A generation reads the versions that it knows; a value of
another version becomes a dead letter, which a newer generation can replay.
"""

from decimal import Decimal
from typing import Generic, TypeVar

import msgspec

from ray_pipeline.dead_letter_reasons import Reason
from ray_pipeline.errors import BadRecord
from ray_pipeline.feeds.records import (
    FORMAT_VERSION,
    Notice,
    Record,
    RecordIdentity,
    Ticker,
    Trade,
)

_encoder = msgspec.json.Encoder(decimal_format="number")

T = TypeVar("T", Trade, Ticker)

# What msgspec raises for bytes that hold no record; RecursionError for JSON nested too deeply.
UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class ShardEpochFields(msgspec.Struct, frozen=True):
    """The fields of a value that say which tenure of which shard numbered it."""

    pod_index: int
    epoch: int


class _VersionField(msgspec.Struct, frozen=True):
    v: int = 1


_objects = msgspec.json.Decoder(dict[str, object], float_hook=Decimal)
_shard_epochs = msgspec.json.Decoder(ShardEpochFields)
_versions = msgspec.json.Decoder(_VersionField)


def encode(record: Record) -> bytes:
    """Return a record's value for Kafka, UTF-8 JSON."""
    return _encoder.encode(record)


def decode_shard_epoch(value: bytes) -> ShardEpochFields:
    """Return which tenure of which shard numbered a value; raises one of `UNDECODABLE`."""
    return _shard_epochs.decode(value)


def renumber(value: bytes, identity: RecordIdentity) -> bytes:
    """
    Return a value with another identity and its other fields as they are, exact numbers included.

    Raises:
        BadRecord: If the value is a notice, which numbers nothing but itself.
        UNDECODABLE: If the value is not a JSON object.
    """
    fields = _objects.decode(value)
    if "kind" in fields:
        raise BadRecord("a notice is not data", reason=Reason.WRONG_SHAPE)
    numbers = {"pod_index": identity.shard, "epoch": identity.epoch, "seq": identity.seq}
    return _encoder.encode(fields | numbers)


class Decoder(Generic[T]):
    """Reads the values of one topic: its data records, and the notices between them."""

    def __init__(self, kind: type[T]) -> None:
        self._data: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)
        self._notice: msgspec.json.Decoder[Notice] = msgspec.json.Decoder(Notice)

    def decode(self, value: bytes) -> T | Notice:
        """
        Return the record in `value`.

        Raises:
            BadRecord: If it is neither data nor a notice; the text says what was expected where.
        """
        # Nearly every value is data, so data is tried first. Types and the version are checked by
        # the decoder itself; only a value that it refuses is looked at again, to name the reason.
        try:
            data: T = self._data.decode(value)
            return data
        except UNDECODABLE as error:
            if b'"kind"' in value and isinstance(error, msgspec.DecodeError):
                return self._decode_notice(value)
            raise _bad(error, value) from error

    def _decode_notice(self, value: bytes) -> Notice:
        try:
            return self._notice.decode(value)
        except UNDECODABLE as error:
            raise _bad(error, value) from error


def _bad(error: Exception, value: bytes) -> BadRecord:
    if isinstance(error, UnicodeDecodeError):
        return BadRecord(str(error), reason=Reason.NOT_UTF8)
    if not isinstance(error, msgspec.ValidationError | RecursionError):
        return BadRecord(str(error), reason=Reason.NOT_JSON)
    if (version := _version(value)) != FORMAT_VERSION:
        return BadRecord(
            f"format version {version}; this generation reads version {FORMAT_VERSION}",
            reason=Reason.UNKNOWN_VERSION,
        )
    return BadRecord(str(error), reason=Reason.WRONG_SHAPE)


def _version(value: bytes) -> int:
    """Return the version that a value claims; the known one if it claims nothing readable."""
    try:
        return _versions.decode(value).v
    except UNDECODABLE:
        return FORMAT_VERSION

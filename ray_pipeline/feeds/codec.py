"""Records to bytes and back: JSON, numbers exact."""

from typing import Generic, TypeVar

import msgspec

from ray_pipeline.errors import BadRecord
from ray_pipeline.feeds.records import Notice, Record

_encoder = msgspec.json.Encoder(decimal_format="number")


def encode(record: Record) -> bytes:
    """Return a record's value for Kafka, UTF-8 JSON."""
    return _encoder.encode(record)


T = TypeVar("T", bound=Record)

# What msgspec raises for bytes that hold no record; RecursionError for JSON nested too deeply.
UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


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
        try:
            data: T = self._data.decode(value)
            return data
        except UNDECODABLE as error:
            if b'"kind"' in value and isinstance(error, msgspec.DecodeError):
                return self._decode_notice(value)
            raise _bad(error) from error

    def _decode_notice(self, value: bytes) -> Notice:
        try:
            return self._notice.decode(value)
        except UNDECODABLE as error:
            raise _bad(error) from error


def _bad(error: Exception) -> BadRecord:
    if isinstance(error, UnicodeDecodeError):
        return BadRecord(str(error), reason="not_utf8")
    wrong_shape = isinstance(error, msgspec.ValidationError | RecursionError)
    return BadRecord(str(error), reason="wrong_shape" if wrong_shape else "not_json")

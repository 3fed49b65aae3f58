"""Where a page ends, as an opaque text; and what a client may put there instead: a time."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec

from ray_pipeline.api.answers import BadRequest
from ray_pipeline.feeds.records import to_ms

LONGEST = 512
Int4 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int8 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
RecordKey = tuple[Int8, Int4, Int8, Int8, datetime]  # see io.pages.record_key

T = TypeVar("T")

RECORDS = msgspec.json.Decoder(RecordKey)
TIMES = msgspec.json.Decoder(datetime)


def write(key: object) -> str:
    """Return a key as a text for `after`."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def read(text: str, kind: msgspec.json.Decoder[T]) -> T:
    """
    Return the key in a text of `write`.

    Raises:
        BadRequest: If it is none.
    """
    try:
        if len(text) > LONGEST:
            raise ValueError("too long")
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return kind.decode(raw)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise BadRequest(
            "after: neither a time nor a `next` of an earlier page",
            fix="give an ISO 8601 time with its offset, or what `next` said",
        ) from None


def moment(text: str) -> datetime | None:
    """Return the time that a text is, UTC where it names no zone; None where it is none."""
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        to_ms(found)
    except (ValueError, OverflowError):
        return None
    return found

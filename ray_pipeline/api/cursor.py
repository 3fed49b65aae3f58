"""
The paging cursor: the key of a page's last row as opaque text, or a time that a client gives.

The text is the key as JSON in URL-safe base64. It is not signed: a client that forges a key gets a
page of data that it may read anyway. It is validated, because its values go into a query.
"""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec

from ray_pipeline.api.answers import BadRequest
from ray_pipeline.feeds.records import to_ms

MAX_CHARACTERS = 512
Int4 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int8 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
RecordKey = tuple[Int8, Int4, Int8, Int8, datetime]  # see storage.postgres.pages.history

T = TypeVar("T")

RECORDS = msgspec.json.Decoder(RecordKey)
TIMES = msgspec.json.Decoder(datetime)


def write(key: object) -> str:
    """Return a key as text for the parameter `after`."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def read(text: str, kind: msgspec.json.Decoder[T]) -> T:
    """
    Return the key in a text from `write`.

    Raises:
        BadRequest: If the text is not such a key.
    """
    try:
        # Checked before decoding, which costs time in proportion to the text.
        if len(text) > MAX_CHARACTERS:
            raise ValueError("too long")
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return kind.decode(raw)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise BadRequest(
            "after: neither a time nor a `next` of an earlier page",
            fix="give an ISO 8601 time with its offset, or the `next` of a page",
        ) from None


def moment(text: str) -> datetime | None:
    """Parse a time, in UTC if it names no zone; None if the text is not a time."""
    try:
        time = datetime.fromisoformat(text)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        to_ms(time)  # a time that has no milliseconds cannot be compared with the stored ones
    except (ValueError, OverflowError):
        return None
    return time

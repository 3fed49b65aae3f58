"""Why records become dead letters. The words are stored, filtered by and shown: keep them."""

from enum import StrEnum


class Reason(StrEnum):
    """A short stable word, and what it says about the record."""

    description: str

    def __new__(cls, word: str, description: str) -> "Reason":
        """Make a member that equals the word."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.description = description
        return member

    NOT_JSON = "not_json", "the frame or value is not JSON"
    NOT_UTF8 = "not_utf8", "the value is not text in UTF-8"
    WRONG_SHAPE = "wrong_shape", "the JSON lacks a field, or a field has another type"
    UNKNOWN_TYPE = "unknown_type", "the provider sent a type of frame that the feed does not know"
    UNKNOWN_VERSION = "unknown_version", "a newer generation wrote the value in a newer format"
    FUTURE_DATED = (
        "future_dated",
        "the event time lies ahead of the clock by more than the tolerance; it would block the "
        "latest value until then",
    )
    BAD_TIME = "bad_time", "a time is unreadable, or lies outside the range that can be stored"
    BAD_NUMBER = "bad_number", "a number is outside any range that a market has"
    BAD_PRICE = "bad_price", "a price is not a finite number"
    BAD_VOLUME = "bad_volume", "the volume is not a finite number"
    BAD_TEXT = "bad_text", "a text holds characters that Postgres cannot store"
    BAD_SYMBOL = "bad_symbol", "the symbol is absent or unusable"
    UNPROCESSABLE = "unprocessable", "reading or checking the record raised an unexpected error"
    BAD_IDENTITY = "bad_identity", "shard, epoch or number is outside its range"
    TOO_LARGE = "too_large", "the record exceeds the broker's limit; its beginning is kept"
    STALE_EPOCH = "stale_epoch", "the shard already has a newer owner than the record's"
    FAULT = "fault", "processing the record failed unexpectedly; the detail names the error"
    DUPLICATE = "duplicate", "Postgres already holds a row with the record's key"


def refused_by_postgres(error: Exception) -> str:
    """Return the reason for a row that Postgres, or the preparation of its statement, refused."""
    return f"refused_{getattr(error, 'sqlstate', None) or type(error).__name__}"

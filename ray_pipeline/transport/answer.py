"""An answer of an HTTP server."""

import codecs
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from ray_pipeline.redact import Redactor

MOST_DIGITS = 1000  # of a number that becomes an int or a Decimal
# UTF-32's little-endian mark begins with that of UTF-16.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Python's codecs that are not encodings of documents: they interpret escapes, produce lone
# surrogates, always fail, or take quadratic time.
NOT_OF_DOCUMENTS = frozenset(
    {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}
)


@dataclass(frozen=True, slots=True)
class Answer:
    """
    An HTTP answer as the server sent it.

    Attributes:
        status: HTTP status.
        headers: Headers by their names in lower case.
        text: The body.
        received_at: The time at which the body was complete, UTC.
    """

    status: int
    headers: Mapping[str, str]
    text: str
    received_at: datetime
    _parsed: list[Any] = field(default_factory=list, init=False, repr=False, compare=False)

    def body(self) -> Any:
        """
        Return the body as JSON. Every call returns the same object: the text is parsed once.

        Raises:
            ValueError: If the body is not JSON, or not unambiguous; see `parse_json`.
        """
        if not self._parsed:
            self._parsed.append(parse_json(self.text))
        return self._parsed[0]

    def redacted(self, redactor: Redactor) -> "Answer":
        """Return the answer with every secret replaced in its header values and its body."""
        headers = {name: redactor.text(value) for name, value in self.headers.items()}
        return replace(self, headers=headers, text=redactor.text(self.text))


def decode(body: bytes, charset: str | None) -> str:
    """Return a body as text: by its byte order mark, which is removed, else by the charset."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, "replace")
    try:
        name = codecs.lookup(charset or "utf-8").name
        if name.replace("_", "-") not in NOT_OF_DOCUMENTS:
            return body.decode(name, "replace")
    except (LookupError, ValueError):
        pass  # the server named an encoding that does not exist, or a codec that makes no text
    return body.decode("utf-8", "replace")


def parse_json(text: str) -> Any:
    """
    Return JSON with exact numbers: int and Decimal, never float.

    A number that Python cannot represent, and NaN and Infinity, become texts as they are written:
    the reader of the value refuses them, and the other values of the answer are kept.

    Raises:
        ValueError: If the text is not JSON, is nested too deeply, or has an object with two
            different values of one key.
    """
    try:
        return json.loads(
            text.removeprefix("\ufeff"),
            parse_float=_decimal,
            parse_int=_integer,
            parse_constant=str,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _decimal(written: str) -> Decimal | str:
    if len(written) > MOST_DIGITS:
        return written
    try:
        return Decimal(written)
    except ArithmeticError:  # an exponent of more than 18 digits
        return written


def _integer(written: str) -> int | str:
    # The conversion takes quadratic time, and Python refuses it from 4,300 digits on.
    return int(written) if len(written) <= MOST_DIGITS else written


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        for key, value in pairs:
            if values[key] != value:
                raise ValueError(f"an object has two values of {key[:40]!r}")
    return values

"""An answer of an HTTP server."""

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ray_pipeline.redact import Redactor
from ray_pipeline.transport.exact_json import parse_json

# A byte order mark is more reliable than the charset that a server claims. UTF-32 begins as UTF-16.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Python's codecs that are not encodings of documents: they interpret escapes, produce lone
# surrogates, always fail, or take quadratic time.
NOT_OF_DOCUMENTS = frozenset(
    {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}
)


def decoded(body: bytes, charset: str | None) -> str:
    """
    Return the text of a body without its byte order mark; never fails.

    An unknown or unusable charset is ignored: the text is UTF-8 then. U+FFFD replaces every part
    that cannot be decoded.
    """
    marked = (name for mark, name in MARKS if body.startswith(mark))
    return body.decode(next(marked, None) or _encoding(charset), "replace").removeprefix("\ufeff")


def _encoding(charset: str | None) -> str:
    try:
        name = codecs.lookup(charset or "utf-8").name
        # Also raises LookupError for a codec that does not produce text, such as zlib.
        b"a".decode(name, "replace")
    except (LookupError, ValueError):
        return "utf-8"
    return "utf-8" if name.replace("_", "-") in NOT_OF_DOCUMENTS else name


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
            ValueError: If the body is not JSON, or is ambiguous; see `parse_json`.
            RecursionError: If it is nested too deeply.
        """
        if not self._parsed:
            self._parsed.append(parse_json(self.text))
        return self._parsed[0]

    def redacted(self, redactor: Redactor) -> "Answer":
        """Return the answer with every secret replaced in its header values and its body."""
        headers = {name: redactor.text(value) for name, value in self.headers.items()}
        return replace(self, headers=headers, text=redactor.text(self.text))

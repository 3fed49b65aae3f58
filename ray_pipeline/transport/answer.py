"""An answer of an HTTP server."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from ray_pipeline.redact import Redactor


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
            ValueError: If the body is not JSON.
        """
        if not self._parsed:
            self._parsed.append(json.loads(self.text, parse_float=Decimal))
        return self._parsed[0]

    def redacted(self, redactor: Redactor) -> "Answer":
        """Return the answer with every secret replaced in its header values and its body."""
        headers = {name: redactor.text(value) for name, value in self.headers.items()}
        return replace(self, headers=headers, text=redactor.text(self.text))

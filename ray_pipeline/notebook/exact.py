"""JSON with exact numbers."""

import json
from decimal import Decimal
from typing import Any


def exact(text: str | bytes) -> dict[str, Any]:
    """Parse a JSON object; numbers with a fraction become Decimals."""
    parsed: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return parsed

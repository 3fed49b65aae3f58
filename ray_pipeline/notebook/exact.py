"""JSON whose numbers keep their digits."""

import json
from decimal import Decimal
from typing import Any


def exact(text: str | bytes) -> dict[str, Any]:
    """Return a JSON object; fractions are Decimals."""
    found: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return found

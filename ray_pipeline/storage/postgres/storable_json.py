"""Write JSON that Postgres can store: `jsonb` refuses a NUL and a lone surrogate, also escaped."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ray_pipeline.storage.postgres.storable_text import storable_text

encode_json = msgspec.json.Encoder(decimal_format="number").encode


def json_text(value: Any) -> str:
    """
    Return a value as JSON; every text in it passes through `storable_text`.

    Raises:
        TypeError, ValueError, RecursionError: If the value cannot be encoded.
    """
    try:
        text = encode_json(value).decode()
    except UnicodeEncodeError:
        return encode_json(storable_json(value)).decode()
    # An escaped NUL looks like an escaped backslash before the text "u0000", which may stay.
    return encode_json(storable_json(value)).decode() if "\\u0000" in text else text


def storable_json(value: Any) -> Any:
    """Return a copy of a value of objects, lists and texts in which every text is storable."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, Mapping):
        return {storable_json(name): storable_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [storable_json(part) for part in value]
    return value

"""Make text storable: Postgres refuses a NUL, and UTF-8 has no form for half a surrogate pair."""

from collections.abc import Mapping
from typing import Any

REPLACEMENT = "\ufffd"  # Unicode's own character for text that could not be decoded


def storable_text(text: str) -> str:
    """Return text without NUL; U+FFFD takes the place of each lone surrogate."""
    if "\x00" in text:
        text = text.replace("\x00", "")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # UTF-16 joins the halves of a pair that were decoded one by one, as from "\ud83d\ude00".
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def storable_json(value: Any) -> Any:
    """
    Return a JSON value with every text in it storable.

    Raises:
        RecursionError: If it is nested too deeply to be encoded either.
    """
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, Mapping):
        return {storable_json(name): storable_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [storable_json(part) for part in value]
    return value

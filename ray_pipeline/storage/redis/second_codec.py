"""
A value of one second, packed: its numbers as text, and the identifier of its shape.

The values of a feed differ in their numbers only. What they have in common, the names and the
texts, is a shape, which is stored once. Packed values are text, so that `redis-cli` shows them and
a client in any language can read them; docs/redis.md shows how.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d[-+.\deE]*')
PLACEHOLDER = re.compile(r'"(?:[^"\\]|\\.)*"|\$[st]?')
SYMBOL, TIME, NUMBER = "$s", "$t", "$"
ID_BYTES = 3  # 4 characters; feeds have a handful of shapes


WHOLE = "{"  # in place of a shape's id: the JSON object follows as it is


class PackedValue(NamedTuple):
    """A shape, and the packed value: the shape's id, milliseconds of the second, the numbers."""

    shape: str
    text: str


def pack(value: str, symbol: str, event_ms: int) -> PackedValue:
    """Pack a JSON object. In the shape, its symbol is `$s`, its event time `$t`, a number `$`."""
    symbol_text, time_text = f'"{symbol}"', str(event_ms)
    numbers: list[str] = []

    def shaped(match: re.Match[str]) -> str:
        token = match[0]
        if token[0] == '"':
            return SYMBOL if token == symbol_text else token
        if token == time_text:
            return TIME
        numbers.append(token)
        return NUMBER

    shape = TOKEN.sub(shaped, value)
    return PackedValue(shape, f"{shape_id(shape)},{event_ms % 1000},{','.join(numbers)}")


def whole(value: str, event_ms: int) -> str:
    """Return a value in the form of a packed one, for shapes that are too many to be stored."""
    return f"{WHOLE},{event_ms % 1000},{value}"


def unpack(text: str, shapes: Mapping[str, str], symbol: str, *, second: int) -> str:
    """
    Return the JSON object that `pack` was given.

    Args:
        text: The packed value.
        shapes: Shapes by id.
        symbol: Its symbol.
        second: The second of its event time.

    Raises:
        KeyError: If its shape is missing.
    """
    identifier, milliseconds, content = text.split(",", 2)
    if identifier == WHOLE:
        return content
    shape, numbers = shapes[identifier], iter(content.split(","))
    time_text = str(second * 1000 + int(milliseconds))

    def filled(match: re.Match[str]) -> str:
        token = match[0]
        if token == SYMBOL:
            return f'"{symbol}"'
        if token == TIME:
            return time_text
        return next(numbers) if token == NUMBER else token

    return PLACEHOLDER.sub(filled, shape)


_ids: dict[str, str] = {}


def shape_id(shape: str) -> str:
    """Return the identifier of a shape: the same in every process, so that no one assigns it."""
    identifier = _ids.get(shape)
    if identifier is None:
        if len(_ids) > 1_000:
            _ids.clear()
        digest = sha256(shape.encode()).digest()[:ID_BYTES]
        identifier = _ids[shape] = urlsafe_b64encode(digest).decode()
    return identifier

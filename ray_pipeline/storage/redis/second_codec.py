"""
A value of one second, packed: its numbers as text, and the identifier of its shape.

The values of a feed differ in their numbers only. What they have in common, the names and the
texts, is a shape, which is stored once. Packed values are text, so that `redis-cli` shows them and
a client in any language can read them; README.md shows how.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

TEXT = r'"(?:[^"\\]|\\.)*"'
FIGURE = r"-?\d[-+.\deE]*"
TOKEN = re.compile(f"{TEXT}|{FIGURE}")
PLACEHOLDER = re.compile(rf"{TEXT}|\$[st]?")
SYMBOL, TIME, NUMBER = "$s", "$t", "$"
GROUPS = {SYMBOL: TEXT, TIME: r"\d+", NUMBER: FIGURE}
ID_BYTES = 3  # 4 characters; feeds have a handful of shapes
WHOLE = "{"  # in place of a shape's id: the JSON object follows as it is
MOST_SHAPES = 64  # of a feed


class PackedValue(NamedTuple):
    """
    A packed value: the shape's id, the milliseconds of its second, and its numbers.

    Attributes:
        shape: The shape, in which the symbol is `$s`, the event time `$t`, and any other number
            `$`. None: the value is stored whole.
        text: The packed value.
    """

    shape: str | None
    text: str


class Packer:
    """
    Packs values, and remembers their shapes.

    A text that differs in every value would make a shape for each of them. After `MOST_SHAPES`,
    values of further shapes are stored whole.
    """

    def __init__(self) -> None:
        self._patterns: list[_ShapePattern] = []

    def pack(self, value: str, symbol: str, event_ms: int) -> PackedValue:
        """Pack a JSON object."""
        symbol_text, time_text = f'"{symbol}"', str(event_ms)
        milliseconds = event_ms % 1000
        # Nearly all values have the shape of the value before. One match with a known shape takes
        # a fifth of the time that it takes to find the shape.
        for index, pattern in enumerate(self._patterns):
            if (numbers := pattern.numbers(value, symbol_text, time_text)) is not None:
                if index:
                    self._patterns.insert(0, self._patterns.pop(index))
                return PackedValue(pattern.shape, f"{pattern.identifier},{milliseconds},{numbers}")
        if len(self._patterns) >= MOST_SHAPES:
            return PackedValue(None, f"{WHOLE},{milliseconds},{value}")
        shape, numbers = _split(value, {symbol_text: SYMBOL, time_text: TIME})
        self._patterns.insert(0, _ShapePattern(shape))
        return PackedValue(shape, f"{shape_id(shape)},{milliseconds},{numbers}")


class _ShapePattern:
    """A shape as a pattern that reads the numbers from a value."""

    def __init__(self, shape: str) -> None:
        self.shape = shape
        self.identifier = shape_id(shape)
        kinds: list[str] = []
        pattern, end = "", 0
        for match in PLACEHOLDER.finditer(shape):
            pattern += re.escape(shape[end : match.start()])
            end = match.end()
            if match[0] in GROUPS:
                kinds.append(match[0])
                pattern += f"({GROUPS[match[0]]})"
            else:
                pattern += re.escape(match[0])
        self._pattern = re.compile(pattern + re.escape(shape[end:]), re.DOTALL)
        # The numbers of the pattern's groups, by what they hold.
        self._symbols, self._times, self._numbers = (
            [group for group, kind in enumerate(kinds) if kind == grouped]
            for grouped in (SYMBOL, TIME, NUMBER)
        )

    def numbers(self, value: str, symbol_text: str, time_text: str) -> str | None:
        """Return the numbers of a value, separated by commas; None if it has another shape."""
        match = self._pattern.fullmatch(value)
        if match is None:
            return None
        texts = match.groups()
        for group in self._symbols:
            if texts[group] != symbol_text:
                return None
        for group in self._times:
            if texts[group] != time_text:
                return None
        return ",".join([texts[group] for group in self._numbers])


def _split(value: str, placeholders: Mapping[str, str]) -> tuple[str, str]:
    """Return the shape of a value, and its numbers, separated by commas."""
    numbers: list[str] = []

    def shaped(match: re.Match[str]) -> str:
        token = match[0]
        if token in placeholders:
            return placeholders[token]
        if token[0] == '"':
            return token
        numbers.append(token)
        return NUMBER

    return TOKEN.sub(shaped, value), ",".join(numbers)


def unpack(text: str, shapes: Mapping[str, str], symbol: str, *, second: int) -> str:
    """
    Return the JSON object that `Packer.pack` was given.

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


def shape_id(shape: str) -> str:
    """Return the identifier of a shape: the same in every process, so that no one assigns it."""
    return urlsafe_b64encode(sha256(shape.encode()).digest()[:ID_BYTES]).decode()

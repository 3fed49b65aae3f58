"""JSON of providers, without a rounded or a guessed value."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

MOST_DIGITS = 1000  # of a number that becomes an int or a Decimal


def parse_json(text: str) -> Any:
    """
    Return JSON with exact numbers: int and Decimal, never float.

    A number that Python cannot represent, and NaN and Infinity, become texts as they are written:
    the reader of the value refuses them, and the other values of the answer are kept.

    Raises:
        ValueError: If the text is not JSON, or has an object with two different values of one key.
        RecursionError: If it is nested too deeply.
    """
    return json.loads(
        text,
        parse_float=_decimal,
        parse_int=_integer,
        parse_constant=str,
        object_pairs_hook=_object,
    )


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

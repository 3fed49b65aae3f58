"""What people read about an answer that cannot be read."""

import csv
import json
from decimal import Decimal, DecimalException

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.batch.unreadable import EXCERPT_CHARACTERS, excerpt, plain_words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RecursionError("maximum recursion depth"), "nested too deeply (RecursionError: maximum"),
        (MemoryError(), "too large for the memory (MemoryError)"),
        (KeyError("price"), "a field is missing (KeyError: 'price')"),
        (csv.Error("unexpected end of data"), "not CSV (Error: unexpected end of data)"),
        (
            UnicodeEncodeError("utf-8", "\ud83d", 0, 1, "no"),
            "not valid Unicode (UnicodeEncodeError",
        ),
        (OverflowError("too large"), "a number is too large (OverflowError"),
        (TypeError("a list"), "a value has an unexpected type (TypeError: a list)"),
        (ExceptionGroup("two", [ValueError("x")]), "an unexpected form (ExceptionGroup"),
        (RuntimeError("first line\nsecond line"), "(RuntimeError: first line)"),
    ],
)
def test_an_exception_is_named_in_plain_words(error, words):
    assert words in plain_words(error)


def test_the_errors_of_decimals_are_about_numbers():
    with pytest.raises(DecimalException) as caught:
        Decimal("x")

    assert plain_words(caught.value).startswith("a value is not a usable number")


@given(st.integers(0, 50_000), st.integers(0, 50_000))
def test_an_excerpt_shows_the_position_of_the_error(before, after):
    text = "[" + "1," * before + "?" + ",1" * after + "]"
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads(text)

    part = excerpt(text, caught.value)

    assert "?" in part
    assert len(part) <= EXCERPT_CHARACTERS

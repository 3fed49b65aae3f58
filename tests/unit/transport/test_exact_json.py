"""JSON is read exactly, or not at all."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.transport.exact_json import parse_json


def test_a_decimal_fraction_is_exact():
    assert parse_json("[0.1, 1e400, 123456789012345678901234567890.5]") == [
        Decimal("0.1"), Decimal("1e400"), Decimal("123456789012345678901234567890.5"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "written", ["NaN", "Infinity", "-Infinity", "1" * 5_000, "1." + "1" * 5_000, "1e" + "9" * 30]
)
def test_a_number_that_python_cannot_hold_stays_a_text(written):
    """The other values of the answer can be read."""
    assert parse_json(f"[{written}, 2]") == [written, 2]


def test_an_object_with_two_values_of_a_key_is_refused():
    """Parsers differ in which of them they take."""
    with pytest.raises(ValueError, match="two values of 'price'"):
        parse_json('[{"price": 1, "price": 2}]')
    assert parse_json('{"price": 1, "price": 1}') == {"price": 1}


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nan", "\ufeff"])
def test_what_is_not_json_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011 - the text is that of the parser
        parse_json(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    )
)
def test_json_without_fractions_is_read_as_it_was_written(value):
    assert parse_json(json.dumps(value)) == value

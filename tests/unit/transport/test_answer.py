"""Bodies become texts and JSON exactly, or an error that a caller expects."""

import codecs
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.transport.answer import NOT_OF_DOCUMENTS, decode, parse_json

TEXT = '{"name": "\u20ac"}'


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
@pytest.mark.parametrize("charset", [None, "utf-8", "latin-1"])
def test_a_byte_order_mark_decides_and_is_removed(mark, encoding, charset):
    assert decode(mark + TEXT.encode(encoding), charset) == TEXT


@pytest.mark.parametrize(
    "charset", [None, "", "no-such-charset", "hex", "\0", *sorted(NOT_OF_DOCUMENTS)]
)
def test_a_charset_that_cannot_be_used_is_utf_8(charset):
    assert decode(TEXT.encode(), charset) == TEXT


def test_without_a_mark_the_charset_decides():
    assert decode("caf\u00e9".encode("latin-1"), "latin-1") == "caf\u00e9"


def test_a_mark_that_a_decoder_left_is_no_part_of_json():
    assert parse_json("\ufeff[1]") == [1]


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


@pytest.mark.parametrize("text", ["[" * 200_000, "", "{", "[1,]", "nan", "\ufeff"])
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


@given(
    st.binary(max_size=200), st.none() | st.text(max_size=10) | st.sampled_from(["utf-7", "utf-16"])
)
def test_any_body_becomes_a_text_that_can_be_encoded(body, charset):
    decode(body, charset).encode()

"""From the bytes of a body to text and JSON."""

import codecs
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.transport.answer import NOT_OF_DOCUMENTS, Answer, decoded

NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
TEXT = "[1, 'é', '한국', '😀']"


def answer(text: str) -> Answer:
    return Answer(200, {}, text, NOW)


@pytest.mark.parametrize(
    "charset",
    [None, "", "no-such-charset", "zlib", "hex", "rot13", "a\x00b", *sorted(NOT_OF_DOCUMENTS)],
)
def test_an_unusable_charset_is_ignored(charset):
    assert decoded(TEXT.encode(), charset) == TEXT


@pytest.mark.parametrize("charset", ["utf-16-le", "euc-kr", "gb18030", "latin-1"])
def test_a_usable_charset_is_used(charset):
    text = "price"

    assert decoded(text.encode(charset), charset) == text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_precedes_the_charset_and_is_removed(encoding):
    assert decoded(TEXT.encode(encoding), "latin-1") == TEXT


@given(st.binary(max_size=200), st.sampled_from([None, "utf-8", "utf-16", "utf-7", "cp949", "?"]))
def test_every_body_has_a_text_that_can_be_encoded(body, charset):
    decoded(body, charset).encode()


def test_a_body_that_is_not_json_is_a_value_error_with_the_position():
    with pytest.raises(ValueError, match="char 4"):
        answer("[1, x]").body()


def test_json_that_python_cannot_hold_is_not_taken_for_a_broken_body():
    with pytest.raises(RecursionError):
        answer("[" * 100_000 + "]" * 100_000).body()
    assert answer("9" * 5_000).body() == "9" * 5_000
    assert answer("1e" + "9" * 30).body() == "1e" + "9" * 30


def test_every_codec_that_is_refused_exists():
    for name in NOT_OF_DOCUMENTS:
        codecs.lookup(name)

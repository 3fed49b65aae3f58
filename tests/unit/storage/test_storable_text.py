"""Any text becomes one that Postgres can store."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.storage.postgres.storable_text import storable_text


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("closed by venue", "closed by venue"),
        ("삼성전자 😀", "삼성전자 😀"),
        ("a\x00b\x00", "ab"),
        ("half \ud83d of a pair", "half � of a pair"),
        ("a pair in two halves \ud83d\ude00", "a pair in two halves 😀"),
        ("\x00\udc00", "�"),
    ],
)
def test_what_cannot_be_stored_is_removed_or_replaced(text, stored):
    assert storable_text(text) == stored


@given(st.text(st.characters(categories=None) | st.sampled_from("\x00\ud800\udfff")))
def test_every_text_can_be_stored(text):
    stored = storable_text(text)

    assert "\x00" not in stored
    stored.encode()
    assert storable_text(stored) == stored

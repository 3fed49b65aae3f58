"""Texts of providers: one line, bounded, storable."""

from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.foreign_text import LONGEST_TEXT, foreign_text


@given(st.text(st.characters()))
def test_every_text_becomes_one_line_that_postgres_can_store(text):
    plain = foreign_text(text)

    assert plain.isprintable()
    assert len(plain) <= LONGEST_TEXT + 3
    assert "\x00" not in plain.encode().decode()


def test_a_long_text_is_cut_and_says_so():
    assert foreign_text("x" * 65_536) == "x" * LONGEST_TEXT + "..."
    assert foreign_text("a\x00\n\x1b[31mb \ud800") == "a [31mb"

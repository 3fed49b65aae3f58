"""Where a page ends: what was written is read, and whatever else comes is refused in words."""

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.api import cursor
from ray_pipeline.api.answers import BadRequest

INT8 = st.integers(-(2**63), 2**63 - 1)
INT4 = st.integers(-(2**31), 2**31 - 1)
TIMES = st.datetimes(timezones=st.just(UTC))


@given(key=st.tuples(INT8, INT4, INT8, INT8, TIMES))
def test_a_key_survives_its_text(key):
    """Whatever numbers Postgres can hold; and the text needs no escaping in an address."""
    text = cursor.write(key)

    assert cursor.read(text, cursor.RECORDS) == key
    assert text.replace("-", "").replace("_", "").isalnum()
    assert len(text) <= cursor.MAX_CHARACTERS


@given(text=st.text(max_size=600))
def test_any_other_text_is_refused_in_words(text):
    """Never another error, which would be a 500."""
    for kind in (cursor.RECORDS, cursor.TIMES):
        with contextlib.suppress(BadRequest):
            cursor.read(text, kind)
    cursor.moment(text)


@pytest.mark.parametrize(
    "key", [(2**63, 0, 0, 0, "2024-01-01T00:00:00Z"), (0, 2**31, 0, 0, "2024-01-01T00:00:00Z")]
)
def test_numbers_that_postgres_cannot_hold_are_refused(key):
    """A client may have written the text itself."""
    with pytest.raises(BadRequest):
        cursor.read(cursor.write(key), cursor.RECORDS)


def test_a_moment_is_utc_unless_it_says_otherwise():
    """Seoul's nine in the evening is noon."""
    noon = datetime(2024, 11, 4, 12, tzinfo=UTC)
    seoul = noon.astimezone(timezone(timedelta(hours=9)))

    assert cursor.moment("2024-11-04T12:00:00") == noon
    assert cursor.moment(seoul.isoformat()) == noon
    assert cursor.moment("0001-01-01T00:00:00+09:00") is None

"""The pause of Retry-After: numbers, dates, garbage and repeats, always bounded."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.transport.retry_after import parse_retry_after

NOW = datetime(2026, 9, 23, 3, 18, 34, tzinfo=UTC)
LONGEST_S = 3_600.0


def wait_s(*values):
    pause = parse_retry_after(values, now=NOW, longest_s=LONGEST_S)
    return None if pause is None else pause.wait_s


@pytest.mark.parametrize(
    ("values", "want_s"),
    [
        ((), None),
        (("",), None),
        (("30",), 30.0),
        ((" 2.5 ",), 2.5),
        (("0",), 0.0),
        (("-30",), 0.0),
        (("1e9",), LONGEST_S),
        (("1e400",), LONGEST_S),
        (("inf",), LONGEST_S),
        (("-inf",), 0.0),
        (("nan",), None),
        (("soon",), None),
        (("\x00\ud800",), None),
        (("9" * 100_000,), LONGEST_S),
        (("Wed, 23 Sep 2026 03:19:04 GMT",), 30.0),
        (("Wed, 23 Sep 2026 12:19:04 +0900",), 30.0),
        (("Wed, 23 Sep 2026 03:19:04 -0000",), 30.0),
        (("Fri, 31 Dec 9999 23:59:59 GMT",), LONGEST_S),
        (("Wed, 23 Sep 1998 03:19:04 GMT",), 0.0),
        (("Wed, 99 Sep 2026 03:19:04 GMT",), None),
        (("5", "soon", "20"), 20.0),
        (("5, 20",), 20.0),
        (("nan", "7"), 7.0),
        # As one value: what a client makes of a repeated header.
        (("Wed, 23 Sep 2026 03:19:04 GMT, 20",), 30.0),
        (("20, Wednesday, 23-Sep-26 03:19:04 GMT, soon",), 30.0),
        (("soon, 7",), 7.0),
    ],
)
def test_a_pause_is_read_and_bounded(values, want_s):
    assert wait_s(*values) == want_s


@given(st.lists(st.text() | st.floats().map(str) | st.datetimes().map(str), max_size=4))
def test_no_header_makes_an_error_or_an_unbounded_pause(values):
    pause = parse_retry_after(values, now=NOW, longest_s=LONGEST_S)

    assert pause is None or 0.0 <= pause.wait_s <= LONGEST_S


def test_the_text_says_what_was_requested_and_what_is_done():
    pause = parse_retry_after(["1e9"], now=NOW, longest_s=LONGEST_S)

    assert str(pause) == "the provider asked for 1e9, waiting 3600 s"


def test_a_date_is_shown_with_the_name_of_its_day():
    values = ["5, Wed, 23 Sep 2026 03:19:04 GMT, 6"]
    pause = parse_retry_after(values, now=NOW, longest_s=LONGEST_S)

    assert pause is not None
    assert pause.requested == "Wed, 23 Sep 2026 03:19:04 GMT"

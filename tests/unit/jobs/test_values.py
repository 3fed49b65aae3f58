"""Notations of providers, converted exactly."""

import contextlib
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ray_pipeline.errors import BadValue, PipelineError
from ray_pipeline.jobs.values import (
    MISSING,
    at,
    boolean,
    count,
    day,
    decimal,
    elements,
    from_unix,
    grouped_decimal,
    instant,
    integer,
    required,
    text,
    upper,
    us_day,
    whole,
    zoned_instant,
)


@pytest.mark.parametrize("value", [None, "", " ", ".", "-", "None", "N/A", "NaN", float("nan")])
def test_a_missing_number_is_none(value):
    assert decimal(value) is None


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("1,234.50", "1234.50"),
        ("-1,234,567", "-1234567"),
        ("+4.54", "4.54"),
        (".5", "0.5"),
        ("-0", "0"),
        ("0e30000000", "0"),
        (" 7 ", "7"),
        (0, "0"),
        (0.1, "0.1"),
        ("1e3", "1E3"),
    ],
)
def test_a_number_is_exact(value, number):
    assert decimal(value) == Decimal(number)


@pytest.mark.parametrize(
    "value",
    [
        "1,5", "1.234,5", "1,234", "12,34.5", "1,2345.6", "1 234", "1\u2009234", "1\u00a0234",
        "1_000", "\u0661\u0662", "\uff11\uff12", "1.5.2", "1e", "e5", "0x10", "+-1", "--1",
        "$5", "5%", "5 USD", "1e30000000", "1e-30000000", "1e999999999999999999999",
        "1" * 10_000, pytest.param(10**10_000, id="10,000 digits"),
        "0." + "0" * 500 + "1", Decimal("1e30000000"), Decimal("NaN123"),
        "Infinity", "-inf", "sNaN", float("inf"), True, False, [1], {}, b"1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("read", [decimal, integer, count, from_unix, grouped_decimal])
def test_a_number_is_never_guessed(read, value):
    if read is grouped_decimal and value == "1,234":
        assert read(value) == 1234
        return
    with pytest.raises(ValueError, match="is not ") as refused:
        read(value)

    assert len(str(refused.value)) < 100


PLAIN = st.from_regex(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)


@given(PLAIN)
def test_a_plain_number_is_read_exactly(written):
    assert decimal(written) == Decimal(written)


@given(st.text(max_size=30))
@example("1e30000000")
def test_any_text_is_a_number_as_written_or_an_error(written):
    """Nothing is dropped: the digits of the result are the digits of the text."""
    try:
        number = decimal(written)
    except ValueError:
        return
    if number is None:
        assert written.strip() in MISSING
    else:
        assert number.is_finite()
        assert number == Decimal(written.strip().replace(",", ""))
        assert written.isascii()


@given(st.integers(-(10**400), 10**400) | st.decimals(allow_nan=False, allow_infinity=False))
def test_a_whole_number_fits_into_a_bigint_or_is_an_error(value):
    try:
        number = integer(value)
    except ValueError:
        return
    assert number is not None
    assert abs(number) < 2**63
    assert abs(number - Decimal(value)) <= Decimal("0.5")


@given(st.text(max_size=40) | st.datetimes(timezones=st.timezones()).map(datetime.isoformat))
def test_any_text_is_a_moment_in_utc_or_an_error(written):
    for read in (instant, day):
        with contextlib.suppress(ValueError):
            read(written)


@given(st.integers(-(10**20), 10**20) | st.floats() | st.decimals(places=7))
def test_any_number_is_a_moment_or_an_error(seconds):
    try:
        moment = from_unix(seconds)
    except ValueError:
        return
    if moment is not None:
        exact = Decimal(str(seconds))
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
        microseconds = since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds
        assert abs(Decimal(microseconds) - exact * 1_000_000) < 1


@pytest.mark.parametrize("read", [decimal, integer])
def test_what_is_no_number_is_an_error(read):
    with pytest.raises(ValueError, match="'soon' is not a number"):
        read("soon")


@pytest.mark.parametrize(("value", "number"), [("2.5", 2), ("3.5", 4), ("-1.6", -2), ("-", None)])
def test_a_whole_number_is_rounded_half_to_even(value, number):
    assert integer(value) == number


def test_text_is_trimmed_cut_and_free_of_nul():
    assert text(" a\x00bc ", 2) == "ab"
    assert text("None") is text("") is text(None) is None
    assert upper(" btc ") == "BTC"


@pytest.mark.parametrize("read", [required, upper])
def test_a_required_text_that_is_missing_is_an_error(read):
    with pytest.raises(ValueError, match="a required text is missing"):
        read(" ")


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("2026-03-02", date(2026, 3, 2)),
        ("2026-03-02T23:59:00Z", date(2026, 3, 2)),
        ("0000-00-00", None),
        ("0000-00-00 00:00:00", None),
        ("-", None),
    ],
)
def test_a_day_ignores_the_time(value, result):
    assert day(value) == result


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-02 or later", "2026-03-021", "20260302", "2026-W10-1", "2026-13-01", "2026-02-30",
        "\u0662026-03-02", "02/03/2026", "2026-03-02T25:00:00", "0000-00-01", 20260302,
    ],
)  # fmt: skip
def test_a_day_is_never_guessed(value):
    with pytest.raises(ValueError):  # noqa: PT011 - Python names the part that is out of range
        day(value)


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-02", "20260302", "20220914T141", "20220914T14", "2026-03-02T06", "soon",
        "2026-03-02T06:00:00+99:00", "0001-01-01T00:00:00+09:00", "9999-12-31T23:59:59-09:00",
        "2026-03-02T24:00:00", "2026-03-02T06:00:60",
    ],
)  # fmt: skip
def test_a_moment_is_never_guessed(value):
    with pytest.raises(ValueError):  # noqa: PT011 - Python names the part that is out of range
        instant(value)


@pytest.mark.parametrize("value", ["1e12", 10**15, -(10**12), 1_700_000_000_000])
def test_seconds_outside_the_calendar_are_an_error(value):
    """Milliseconds are."""
    with pytest.raises(ValueError, match="is not a time in seconds"):
        from_unix(value)


@pytest.mark.parametrize(
    ("value", "flag"), [(True, True), (False, False), (None, False), ([1], True), ([], False)]
)
def test_a_flag_is_a_flag_or_a_list_with_elements(value, flag):
    assert boolean(value) is flag


@pytest.mark.parametrize("value", ["false", "true", "", 0, 1, {}])
def test_a_flag_is_never_guessed(value):
    with pytest.raises(ValueError, match="is not true or false"):
        boolean(value)


def test_half_a_character_can_be_stored():
    """Where a provider has cut a text."""
    assert text("cut \ud83d") == "cut ?"


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("20220914T1410", datetime(2022, 9, 14, 14, 10, tzinfo=UTC)),
        ("20220914T141059", datetime(2022, 9, 14, 14, 10, 59, tzinfo=UTC)),
        ("2026-03-02 06:00", datetime(2026, 3, 2, 6, tzinfo=UTC)),
        ("2026-03-02T06:00:00.123Z", datetime(2026, 3, 2, 6, 0, 0, 123_000, tzinfo=UTC)),
        ("2026-03-02T06:00:00", datetime(2026, 3, 2, 6, tzinfo=UTC)),
        ("2026-03-02T06:00:00Z", datetime(2026, 3, 2, 6, tzinfo=UTC)),
        ("2026-03-02T06:00:00+09:00", datetime(2026, 3, 1, 21, tzinfo=UTC)),
        ("", None),
    ],
)
def test_a_moment_is_in_utc(value, result):
    moment = instant(value)

    assert moment == result
    assert moment is None or moment.utcoffset() == timedelta(0)


def test_a_moment_given_in_another_zone_is_converted():
    local = datetime(2026, 3, 2, 15, tzinfo=timezone(timedelta(hours=9)))

    assert instant(local.isoformat()) == datetime(2026, 3, 2, 6, tzinfo=UTC)


def test_seconds_since_the_epoch():
    assert from_unix("86400") == datetime(1970, 1, 2, tzinfo=UTC)
    assert from_unix(0) is from_unix(None) is None


def test_a_path_that_ends_early_is_none():
    body = {"prices": [{"usd": 5}], "empty": None, "no fields": []}

    assert at(body, "prices", 0, "usd") == 5
    for path in (
        ("prices", 1, "usd"),
        ("empty", "usd"),
        ("no fields", "usd"),
        ("prices", 0, "eur", "x"),
    ):
        assert at(body, *path) is None


@pytest.mark.parametrize(("value", "number"), [(None, None), (0, None), ("12", 12), (3, 3)])
def test_a_counter_that_is_not_sent_is_none(value, number):
    assert count(value) == number


@pytest.mark.parametrize("value", ["-", "None", "nan", [1]])
def test_a_counter_that_is_not_a_number_is_refused(value):
    """As 0 it would replace the counter that is stored."""
    with pytest.raises((ValueError, TypeError)):
        count(value)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (("prices", "usd"), "is not an object"),
        (("name", "usd"), "is not an object"),
        (("name", 0), "is not a list"),
        (("object", 0), "is not a list"),
    ],
)
def test_a_path_through_a_value_of_another_type_is_an_error(path, problem):
    """A field of another type must not look like a missing one."""
    body = {"prices": [{"usd": 5}], "name": "x", "object": {"a": 1}}

    with pytest.raises(BadValue, match=problem):
        at(body, *path)


def test_a_value_error_belongs_to_the_errors_of_the_pipeline():
    assert issubclass(BadValue, PipelineError)
    assert issubclass(BadValue, ValueError)


@pytest.mark.parametrize("value", [[], ["a"], {}, {"a": 1}, True, False, b"a"])
def test_a_value_of_another_type_is_not_a_text(value):
    with pytest.raises(BadValue, match="is not a text"):
        text(value)


@pytest.mark.parametrize("value", ["abc", {}, {"a": 1}, 0, False])
def test_a_text_or_an_object_is_not_a_list(value):
    with pytest.raises(BadValue, match="is not a list"):
        elements(value)


@pytest.mark.parametrize("value", [None, "", "1.5", 1.5, "many", True])
def test_a_number_that_would_be_rounded_or_is_missing_is_not_whole(value):
    with pytest.raises(BadValue):
        whole(value)


@pytest.mark.parametrize("value", [7, "7", Decimal("7.0"), "7e0"])
def test_a_whole_number_is_exact(value):
    assert whole(value) == 7
    assert whole("0") == 0


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-05-15 16:16:00 US/Eastern", datetime(2026, 5, 15, 20, 16, tzinfo=UTC)),
        ("2026-12-15 16:16:00 America/New_York", datetime(2026, 12, 15, 21, 16, tzinfo=UTC)),
        ("2026-05-15 16:16:00 UTC", datetime(2026, 5, 15, 16, 16, tzinfo=UTC)),
    ],
)
def test_a_time_with_the_name_of_its_zone(written, moment):
    assert zoned_instant(written) == moment


@pytest.mark.parametrize(
    "written",
    [
        None, "", "2026-05-15 16:16:00", "2026-05-15 US/Eastern", "20260515 US/Eastern",
        "2026-W20-5 16:16:00 US/Eastern", "2026-05-15 16:16:00+09:00 US/Eastern",
        "2026-05-15 16:16:00 US/Nowhere", "2026-05-15 16:16:00 ../../etc/passwd",
        "2026-05-15 25:16:00 US/Eastern", "2026-02-30 16:16:00 US/Eastern",
        "0001-01-01 00:00:00 Asia/Seoul", ["2026-05-15 16:16:00 US/Eastern"],
    ],
)  # fmt: skip
def test_a_time_with_another_form_or_an_unknown_zone_is_an_error(written):
    with pytest.raises(BadValue):
        zoned_instant(written)


@pytest.mark.parametrize(
    ("written", "want"),
    [
        ("05/18/26", date(2026, 5, 18)), ("5/8/26", date(2026, 5, 8)),
        ("12/31/99", date(2099, 12, 31)), ("2026-05-18", date(2026, 5, 18)),
        ("", None), (None, None), ("0000-00-00", None),
    ],
)  # fmt: skip
def test_a_date_as_americans_write_it(written, want):
    """strptime would read the year 99 as 1999, and digits of every script."""
    assert us_day(written) == want


@pytest.mark.parametrize(
    "written",
    [
        "18/05/26", "05/32/26", "05/18/2026", "05/18", "05 / 18 / 26", "05/18/26 00:00",
        "\u0660\u0665/\u0661\u0668/\u0662\u0666", "5/18/6", "2/30/26", 20260518, ["05/18/26"],
    ],
)  # fmt: skip
def test_a_date_with_another_form_is_an_error(written):
    with pytest.raises(BadValue):
        us_day(written)


@given(st.one_of(st.none(), st.booleans(), st.text(), st.dates().map(str), st.lists(st.text())))
def test_no_reader_raises_another_error(value):
    for read in (decimal, integer, whole, day, us_day, instant, zoned_instant, from_unix, text):
        with contextlib.suppress(BadValue):
            read(value)

"""Notations of providers, converted exactly."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from ray_pipeline.jobs.values import (
    at,
    count,
    day,
    decimal,
    from_unix,
    instant,
    integer,
    required,
    text,
    upper,
)


@pytest.mark.parametrize("value", [None, "", " ", ".", "-", "None", "N/A", "NaN", "inf", True])
def test_a_missing_number_is_none(value):
    assert decimal(value) is None


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("1,234.50", "1234.50"),
        ("-3.5%", "-3.5"),
        (" 7 ", "7"),
        (0, "0"),
        (0.1, "0.1"),
        ("1e3", "1E3"),
    ],
)
def test_a_number_is_exact(value, number):
    assert decimal(value) == Decimal(number)


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
        ("-", None),
    ],
)
def test_a_day_ignores_the_time(value, result):
    assert day(value) == result


@pytest.mark.parametrize(
    ("value", "result"),
    [
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
    body = {"prices": [{"usd": 5}], "empty": None}

    assert at(body, "prices", 0, "usd") == 5
    for path in (
        ("prices", 1, "usd"),
        ("empty", "usd"),
        ("prices", "usd"),
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

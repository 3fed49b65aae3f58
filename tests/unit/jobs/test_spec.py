"""The vocabulary of datasets: plans of one call, isolated items, sources with a key."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.jobs.spec import (
    OtherItemAnswered,
    Request,
    Run,
    Unparsed,
    check_item,
    each,
    one_call,
)
from tests.batch_runs import job, source

NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
RUN = Run("prices", NOW, NOW, inputs={"members": ({"symbol": "A"}, {"symbol": 5})})


def test_one_call_is_a_plan_of_one_request():
    plan = one_call("/all", {"limit": "20"}, item="first page")

    assert list(plan(RUN)) == [Request("first page", "/all", {"limit": "20"})]


def test_an_input_that_a_job_does_not_have_has_no_rows():
    assert RUN.values("members", "symbol") == ["A", "5"]
    assert RUN.values("others", "symbol") == []


def test_an_item_that_cannot_be_read_costs_no_other():
    assert list(each(["1", "x", "3"], int)) == [
        1,
        Unparsed("x", "ValueError", "invalid literal for int() with base 10: 'x'"),
        3,
    ]


def test_an_item_may_give_several_rows_or_none():
    rows = {"a": ("first", "second"), "b": None, "c": "third"}

    assert list(each(list("abc"), rows.get)) == ["first", "second", "third"]


def test_a_programming_error_is_not_taken_for_bad_data():
    def broken(_item):
        raise RuntimeError("bug")

    with pytest.raises(RuntimeError, match="bug"):
        list(each([1], broken))


def test_a_source_is_usable_with_a_key_or_with_a_number_of_keys():
    first, second = source("first"), source("second")
    spec = job(first, second)

    assert spec.usable_sources({"second": ["key"]}) == [second]
    assert spec.usable_sources({"first": 2, "second": 0}) == [first]
    assert spec.usable_sources({}) == []


@pytest.mark.parametrize("value", [{}, {"error": "no"}, None, 5, "", "x" * 9, b"x"])
def test_what_stands_in_place_of_a_list_is_not_an_empty_list(value):
    with pytest.raises(TypeError):
        list(each(value, int))


@pytest.mark.parametrize(
    ("answered", "requested"),
    [("AAPL", "AAPL"), ("aapl", "AAPL"), ("BRK-B", "BRK.B"), ("BRK/B", "BRK.B"), (None, "AAPL"),
     ("", "AAPL"), ("bitcoin", ""), (5, "5")],
)  # fmt: skip
def test_an_answer_about_the_requested_item_passes(answered, requested):
    check_item(answered, requested)


@pytest.mark.parametrize(("answered", "requested"), [("IBM", "AAPL"), ("BRK.A", "BRK.B"), (5, "6")])
def test_an_answer_about_another_item_is_an_error(answered, requested):
    with pytest.raises(OtherItemAnswered, match=f"{requested} was requested, and the answer is"):
        check_item(answered, requested)


@given(symbol=st.text(st.characters(codec="ascii", categories=("Lu", "Nd")), min_size=2))
def test_the_notation_of_a_share_class_does_not_matter(symbol):
    for separator in ".-/ _":
        check_item(separator.join((symbol[:-1], symbol[-1])).lower(), symbol)

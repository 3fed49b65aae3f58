"""From an answer's text to rows and the item's next state."""

import csv
from dataclasses import replace
from decimal import InvalidOperation

import pytest

from ray_pipeline.batch.responses import (
    INCOMPLETE,
    NOT_FOUND_PAUSE,
    ParsedAnswer,
    broken,
    collected,
    compared,
    read,
    refused,
)
from ray_pipeline.jobs.spec import WHOLE, Empty, OtherItemAnswered, Request, Unparsed
from ray_pipeline.providers.refusals import Refusal, Verdict
from ray_pipeline.transport.answer import Answer
from tests.batch_runs import NOW, RUN, Price, source

REQUEST = Request("A", "/A")
NEXT = Request("A", "/A", page=1)


def answer(text: str) -> Answer:
    return Answer(200, {}, text, NOW)


def test_an_answer_becomes_rows():
    parsed = read(source("first", "A"), answer("[5, 6]"), REQUEST, RUN)

    assert parsed == ParsedAnswer((Price("A", 5), Price("A", 6)), (), None)


def test_a_refusal_under_http_200_is_a_verdict():
    verdict = read(source("first", "A"), answer("refuse:quota:25 a day"), REQUEST, RUN)

    assert verdict == Verdict(Refusal.QUOTA, "25 a day")


def test_an_answer_that_is_cut_off_is_broken():
    verdict = read(source("first", "A"), answer("[5, 6"), REQUEST, RUN)

    assert isinstance(verdict, Verdict)
    assert verdict.refusal is Refusal.BROKEN


def test_a_bad_part_costs_no_other_part():
    parsed = read(source("first", "A"), answer('[5, "x", 6]'), REQUEST, RUN)

    assert [row.price for row in parsed.rows] == [5, 6]
    assert [bad.raw for bad in parsed.bad] == ["x"]


def test_rows_before_a_failure_of_the_parser_count():
    def parse(_body, _request, _run):
        yield Price("A", 1)
        raise KeyError("price")

    of = replace(source("first"), parse=parse)

    parsed = read(of, answer("{}"), REQUEST, RUN)

    assert parsed.rows == (Price("A", 1),)
    assert (parsed.bad[0].reason, parsed.bad[0].detail) == ("unreadable", "KeyError: 'price'")


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x"),
        RecursionError(),
        MemoryError(),
        csv.Error("quote"),
        OverflowError(),
        UnicodeDecodeError("utf-8", b"", 0, 1, "no"),
        InvalidOperation(),
        RuntimeError("anything"),
    ],
)
@pytest.mark.parametrize("step", ["classify", "parse", "follow"])
def test_any_exception_is_the_fault_of_the_answer(error, step):
    """Its item fails with the reason, and the answer becomes a dead letter."""

    def fail(*_arguments):
        raise error

    steps = {"classify": lambda _: None, "parse": lambda *_: [], "follow": None, step: fail}
    usual = source("first")
    of = replace(
        usual,
        provider=replace(usual.provider, classify=steps["classify"]),
        parse=steps["parse"],
        follow=steps["follow"],
    )

    parsed = read(of, answer("{}"), REQUEST, RUN)
    result = collected(of, parsed, REQUEST, answer=answer("{}"))

    assert (result.state, result.fault) == ("failed", "answer")
    assert type(error).__name__ in result.why
    assert [(bad.raw, bad.reason) for bad in result.bad] == [("{}", "unreadable")]


def test_the_status_still_tells_a_refusal_that_cannot_be_classified():
    def fail(_answer):
        raise ValueError("odd")

    usual = source("first")
    of = replace(usual, provider=replace(usual.provider, classify=fail))

    verdict = read(of, Answer(503, {}, "{}", NOW), REQUEST, RUN)

    assert isinstance(verdict, Verdict)
    assert verdict.refusal is Refusal.SERVER


@pytest.mark.parametrize(
    ("text", "fault"), [("[1, 2", "answer"), ("<html>", "provider"), ("", "provider")]
)
def test_another_document_is_the_fault_of_the_provider(text, fault):
    """Text that is almost JSON is the fault of one item."""
    result = broken(REQUEST, answer(text), "4 attempts: not JSON")

    assert (result.state, result.fault, result.text) == ("failed", fault, text)
    assert result.bad[0].detail.startswith("JSONDecodeError: ")


def test_text_reaches_the_parser_as_it_came():
    of = replace(source("first"), parse=lambda body, *_: [body], body="text")

    assert read(of, answer("a,b\n1,2"), REQUEST, RUN).rows == ("a,b\n1,2",)


BAD = Unparsed("x", "ValueError", "not a number")


ONE = Price("A", 1)


@pytest.mark.parametrize(
    ("parsed", "empty", "page", "state"),
    [
        (ParsedAnswer((ONE,), (), None), Empty.FAILURE, 0, "done"),
        (ParsedAnswer((ONE,), (BAD,), None), Empty.FAILURE, 0, "done"),
        (ParsedAnswer((ONE,), (BAD, BAD), None), Empty.NORMAL, 0, "failed"),
        (ParsedAnswer((), (), None), Empty.NORMAL, 0, "empty"),
        (ParsedAnswer((), (), None), Empty.SOMETIMES, 0, "empty"),
        (ParsedAnswer((), (), None), Empty.UNKNOWN, 0, "not_found"),
        (ParsedAnswer((), (), None), Empty.FAILURE, 0, "failed"),
        (ParsedAnswer((), (), None), Empty.FAILURE, 1, "empty"),  # the pages before had rows
        (ParsedAnswer((), (BAD,), None), Empty.NORMAL, 0, "failed"),
        (ParsedAnswer((), (), NEXT), Empty.FAILURE, 0, "paging"),
        (ParsedAnswer((), (BAD,), NEXT), Empty.FAILURE, 0, "paging"),
    ],
)
def test_the_state_of_an_item_after_its_answer(parsed, empty, page, state):
    request = Request("A", "/A", page=page)

    result = collected(source("first", empty=empty), parsed, request, answer=answer("[]"))

    assert result.state == state
    assert not (state == "failed" and not result.why)
    assert (result.rows, result.bad, result.next) == (parsed.rows, parsed.bad, parsed.next)


@pytest.mark.parametrize(
    ("empty", "lacks_data"),
    [
        (Empty.NORMAL, False),
        (Empty.SOMETIMES, True),
        (Empty.UNKNOWN, True),
        (Empty.FAILURE, True),
    ],
)
def test_only_a_normal_empty_answer_does_not_lack_data(empty, lacks_data):
    nothing = ParsedAnswer((), (), None)

    result = collected(source("first", empty=empty), nothing, REQUEST, answer=answer("[]"))

    assert result.lacks_data is lacks_data


def test_a_source_may_decide_by_request_what_an_empty_answer_means():
    of = source("first", empty=lambda request: Empty.NORMAL if request.page else Empty.FAILURE)

    assert of.meaning_of_empty(REQUEST) is Empty.FAILURE
    assert of.meaning_of_empty(NEXT) is Empty.NORMAL


def test_an_answer_about_another_item_is_refused():
    def parse(_body, _request, _run):
        yield ONE
        raise OtherItemAnswered("A was requested, and the answer is about B")

    verdict = read(replace(source("first"), parse=parse), answer("[]"), REQUEST, RUN)

    assert verdict == Verdict(Refusal.OTHER_ITEM, "A was requested, and the answer is about B")


def test_an_unknown_item_is_not_a_refusal():
    verdict = Verdict(Refusal.NOT_FOUND, "no such symbol")

    result = refused(source("first"), verdict, REQUEST, now=NOW)

    assert (result.state, result.is_refusal, result.lacks_data) == ("not_found", False, True)
    assert result.not_before == NOW + NOT_FOUND_PAUSE


@pytest.mark.parametrize(
    ("item", "empty"), [("", Empty.NORMAL), ("", Empty.FAILURE), ("A", Empty.FAILURE)]
)
def test_not_found_is_a_refusal_if_there_is_no_item_that_may_be_unknown(item, empty):
    verdict = Verdict(Refusal.NOT_FOUND, "no such page")

    result = refused(source("first", empty=empty), verdict, Request(item, "/"), now=NOW)

    assert (result.state, result.is_refusal) == ("failed", True)


def answered(*prices: int):
    rows = tuple(Price("A", price) for price in prices)
    of = source("first", least=WHOLE)
    return of, collected(of, ParsedAnswer(rows, (BAD,), None), REQUEST, answer=answer("text"))


@pytest.mark.parametrize("usual", [0, 4, 5])
def test_an_answer_of_the_usual_size_is_stored(usual):
    of, result = answered(1, 2)  # four values

    assert compared(of, result, {("A", 0): usual}) is result
    assert compared(of, result, {}) is result
    assert compared(of, result, {("B", 0): 100, ("A", 1): 100}) is result


def test_a_much_smaller_answer_is_kept_aside():
    """No row is stored; the answer becomes a dead letter, beside the parts that are unreadable."""
    of, result = answered(1, 2)

    aside = compared(of, result, {("A", 0): 6})

    assert (aside.state, aside.rows, aside.lacks_data) == ("failed", (), True)
    assert [bad.reason for bad in aside.bad] == ["ValueError", INCOMPLETE]
    assert "4 values, and the last complete one had 6" in aside.why
    assert "dlq replay" in aside.why
    assert aside.text == "text"


def test_an_answer_that_varies_in_size_is_not_compared():
    _, result = answered(1)

    assert compared(source("first"), result, {("A", 0): 1000}) is result

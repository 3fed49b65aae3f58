"""From an answer's text to rows and the item's next state."""

import csv
from dataclasses import replace
from decimal import InvalidOperation

import pytest

from ray_pipeline.batch.responses import ParsedAnswer, broken, collected, read, refused
from ray_pipeline.jobs.spec import Request, Source, Unparsed
from ray_pipeline.providers.refusals import Refusal, Verdict
from ray_pipeline.transport.answer import Answer
from tests.batch_runs import NOW, RUN, Price, provider, source

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

    parsed = read(Source(provider("first"), lambda _run: (), parse), answer("{}"), REQUEST, RUN)

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
    of = Source(
        replace(provider("first"), classify=steps["classify"]),
        lambda _run: (),
        steps["parse"],
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

    of = Source(replace(provider("first"), classify=fail), lambda _run: (), lambda *_: [])

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
    of = Source(provider("first"), lambda _run: (), lambda body, *_: [body], body="text")

    assert read(of, answer("a,b\n1,2"), REQUEST, RUN).rows == ("a,b\n1,2",)


BAD = Unparsed("x", "ValueError", "not a number")


@pytest.mark.parametrize(
    ("parsed", "empty", "page", "state"),
    [
        (ParsedAnswer((1,), (), None), False, 0, "done"),
        (ParsedAnswer((1,), (BAD,), None), False, 0, "done"),
        (ParsedAnswer((), (), None), True, 0, "empty"),
        (ParsedAnswer((), (), None), False, 0, "failed"),  # a dataset that is never empty
        (ParsedAnswer((), (), None), False, 1, "empty"),  # but its last page may be
        (ParsedAnswer((), (BAD,), None), True, 0, "failed"),
        (ParsedAnswer((), (), NEXT), False, 0, "paging"),
        (ParsedAnswer((), (BAD,), NEXT), False, 0, "paging"),
    ],
)
def test_the_state_of_an_item_after_its_answer(parsed, empty, page, state):
    request = Request("A", "/A", page=page)

    result = collected(source("first", empty=empty), parsed, request, answer=answer("[]"))

    assert result.state == state
    assert bool(result.why) is (state == "failed")
    assert (result.rows, result.bad, result.next) == (parsed.rows, parsed.bad, parsed.next)


def test_an_unknown_item_is_not_a_refusal():
    result = refused(REQUEST, Verdict(Refusal.NOT_FOUND, "no such symbol"), now=NOW)

    assert (result.state, result.is_refusal) == ("not_found", False)
    assert result.not_before is not None
    assert result.not_before > NOW

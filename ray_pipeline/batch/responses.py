"""
Turn an answer into rows and progress: pure functions from the text to a result.

An answer that lacks its data is never reported as "nothing new". Three declarations of a source
decide what it is: what an answer without rows means (`Empty`), which columns a row requires, and
how much smaller than the last one an answer may be (`least`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ray_pipeline.batch.progress import ItemState
from ray_pipeline.batch.results import Collected
from ray_pipeline.batch.unreadable import detail, excerpt, part_problem, plain_words, printable
from ray_pipeline.jobs.spec import Empty, OtherItemAnswered, Request, Run, Source, Unparsed
from ray_pipeline.jobs.table import count_values
from ray_pipeline.providers.refusals import Refusal, Verdict, by_status
from ray_pipeline.transport.answer import Answer

NOT_FOUND_PAUSE = timedelta(days=7)  # before an item that the provider does not know is retried
NO_DATA = "the answer has no data, but this dataset always has"
UNKNOWN_ITEM = "the answer has no data about this item"
INCOMPLETE = "incomplete"  # the reason of the dead letter of an answer that is kept aside

# How many values the last complete answer to an item's page had, by item and page.
AnswerSizes = Mapping[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """
    The content of an answer.

    Attributes:
        rows: The rows.
        bad: The parts that cannot be read.
        next: The request of the next page.
        fault: Why reading ended before the end of the answer; empty if it did not.
    """

    rows: tuple[object, ...] = ()
    bad: tuple[Unparsed, ...] = ()
    next: Request | None = None
    fault: str = ""


def read(source: Source, answer: Answer, request: Request, run: Run) -> ParsedAnswer | Verdict:
    """
    Return the content of an answer, or the verdict that it is a refusal.

    Nothing that a provider sends makes this function fail: an exception of any kind becomes the
    fault of this one answer.
    """
    # Classify first: several providers send refusals with HTTP 200, and a refusal that is parsed
    # as data looks like an answer without rows.
    try:
        verdict = source.provider.classify(answer)
    except Exception as error:
        # The status tells a refusal from data without a look at the body, which caused the error.
        verdict = by_status(answer)
        if verdict is None:
            return _unreadable(answer, error)
    body: object = answer.text
    if source.body == "json" and (verdict is None or verdict.refusal is Refusal.BROKEN):
        try:
            body = answer.body()
        except json.JSONDecodeError:
            message = f"not JSON, or cut off: {answer.text[:100]!r}"
            verdict = verdict or Verdict(Refusal.BROKEN, message)
        except Exception as error:
            # Another attempt brings the same: it is JSON, but nested too deeply, or ambiguous.
            return _unreadable(answer, error)
    if verdict is not None:
        return replace(verdict, message=printable(verdict.message))
    return _parse(source, answer, body, request, run)


def _parse(
    source: Source, answer: Answer, body: object, request: Request, run: Run
) -> ParsedAnswer | Verdict:
    rows: list[object] = []
    bad: list[Unparsed] = []
    try:
        # `parse` may be a generator that fails half way: the rows before the failure count.
        for row in source.parse(body, request, run):
            if isinstance(row, Unparsed):
                bad.append(row)
            else:
                rows.append(row)
        next_page = source.follow(body, request, run) if source.follow else None
    except OtherItemAnswered as error:
        return Verdict(Refusal.OTHER_ITEM, str(error))
    except Exception as error:
        failure = _unreadable(answer, error)
        return replace(failure, rows=tuple(rows), bad=(*bad, *failure.bad))
    return ParsedAnswer(tuple(rows), tuple(bad), next_page)


def _unreadable(answer: Answer, error: Exception) -> ParsedAnswer:
    part = Unparsed(excerpt(answer.text, error), "unreadable", detail(error))
    return ParsedAnswer(bad=(part,), fault=f"the answer cannot be read: {plain_words(error)}")


def collected(
    source: Source, parsed: ParsedAnswer, request: Request, *, answer: Answer
) -> Collected:
    """Return the result of a request that was answered with data, or with an empty document."""
    result = Collected(
        request,
        "done",
        rows=parsed.rows,
        bad=parsed.bad,
        text=answer.text,
        received_at=answer.received_at,
        next=parsed.next,
    )
    if parsed.fault:
        return _without_data(result, parsed.fault)
    if parsed.next is not None:
        return replace(result, state="paging")
    if len(parsed.bad) > len(parsed.rows):
        # The rows that can be read are stored. The item fails, because the provider has changed
        # the form of its answers, or answers with something else.
        parts = f"{len(parsed.bad)} of {len(parsed.bad) + len(parsed.rows)} parts"
        return _without_data(
            result, f"{parts} of the answer are unreadable: {part_problem(parsed.bad[0])}"
        )
    if parsed.rows:
        return result
    match source.meaning_of_empty(request):
        case Empty.FAILURE:
            return _without_data(result, NO_DATA)
        case Empty.UNKNOWN:
            return _unknown(result, UNKNOWN_ITEM, now=answer.received_at)
        case Empty.SOMETIMES:
            return replace(result, state="empty", lacks_data=True, why=UNKNOWN_ITEM)
        case Empty.NORMAL:
            return replace(result, state="empty")


def broken(request: Request, answer: Answer, problem: str) -> Collected:
    """Return the result of a request that no attempt brought JSON for."""
    try:
        answer.body()
    except Exception as error:
        part = Unparsed(excerpt(answer.text, error), "broken", detail(error))
    else:
        part = Unparsed(excerpt(answer.text), "broken", problem)
    return Collected(
        request,
        "failed",
        bad=(part,),
        text=answer.text,
        received_at=answer.received_at,
        why=problem,
        fault="provider" if is_other_document(answer) else "answer",
    )


def is_other_document(answer: Answer) -> bool:
    """
    Return whether an answer is empty or a page: another server answered in place of the provider.

    Text that begins like JSON and is not is the provider's own, and the fault of one item.
    """
    start = answer.text[:100].lstrip()
    return not start or start.startswith("<")


def refused(source: Source, verdict: Verdict, request: Request, *, now: datetime) -> Collected:
    """
    Return the result of a request that the provider refuses for good.

    "Not found" concerns the item only if the request names an item that may be unknown.
    """
    result = Collected(request, "failed", why=f"refused: {verdict.message}", fault="refusal")
    if verdict.refusal is not Refusal.NOT_FOUND or not request.item:
        return result
    if source.meaning_of_empty(request) is Empty.FAILURE:
        return result
    return _unknown(replace(result, fault=""), verdict.message, now=now)


def compared(source: Source, result: Collected, sizes: AnswerSizes) -> Collected:
    """
    Return a result, or a failure if its answer is far smaller than the item's last complete answer.

    The answer is then kept aside: none of its rows is stored, and a dead letter with the answer
    waits for a person, who accepts it with `dlq replay`.
    """
    usual = sizes.get((result.request.item, result.request.page))
    if usual is None or result.state in {"failed", "not_found"}:
        return result
    values = count_values(result.rows)
    if values >= usual * source.least:
        return result
    why = (
        f"the answer has {values} values, and the last complete one had {usual}; it is kept aside "
        "as a dead letter, and `ray-pipeline dlq replay` accepts it"
    )
    aside = Unparsed({"values": values, "usual": usual}, INCOMPLETE, why)
    kept = replace(result, rows=(), bad=(*result.bad, aside), next=None, not_before=None)
    return _without_data(kept, why)


def _without_data(result: Collected, why: str) -> Collected:
    return replace(result, state="failed", lacks_data=True, why=why, fault="answer")


def _unknown(result: Collected, why: str, *, now: datetime) -> Collected:
    state: ItemState = "not_found"
    not_before = now + NOT_FOUND_PAUSE
    return replace(result, state=state, not_before=not_before, lacks_data=True, why=why)

"""Turn an answer into rows and progress: pure functions from the text to a result."""

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ray_pipeline.batch.progress import ItemState
from ray_pipeline.batch.results import Collected
from ray_pipeline.batch.unreadable import detail, excerpt, part_problem, plain_words, printable
from ray_pipeline.jobs.spec import Request, Run, Source, Unparsed
from ray_pipeline.providers.refusals import Refusal, Verdict, by_status
from ray_pipeline.transport.answer import Answer

NOT_FOUND_PAUSE = timedelta(days=7)  # before an item that the provider does not know is retried


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
) -> ParsedAnswer:
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
    """Return the result of a request that was answered with data."""
    state: ItemState = "done" if parsed.rows else "empty"
    why = ""
    if parsed.fault:
        state, why = "failed", parsed.fault
    elif parsed.next is not None:
        state = "paging"
    elif not parsed.rows and parsed.bad:
        state, why = "failed", f"nothing of the answer could be read: {part_problem(parsed.bad[0])}"
    elif not parsed.rows and not source.empty and request.page == 0:
        state, why = "failed", "the answer has no row, but this dataset is never empty"
    return Collected(
        request,
        state,
        rows=parsed.rows,
        bad=parsed.bad,
        text=answer.text,
        received_at=answer.received_at,
        next=parsed.next,
        why=why,
        fault="answer" if state == "failed" else "",
    )


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


def refused(request: Request, verdict: Verdict, *, now: datetime) -> Collected:
    """Return the result of a request that the provider refuses for good."""
    if verdict.refusal is Refusal.NOT_FOUND:
        not_before = now + NOT_FOUND_PAUSE
        return Collected(request, "not_found", not_before=not_before, why=verdict.message)
    return Collected(request, "failed", why=f"refused: {verdict.message}", fault="refusal")

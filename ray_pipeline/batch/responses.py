"""Turn an answer into rows and progress: pure functions from the text to a result."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from ray_pipeline.batch.progress import ItemState
from ray_pipeline.batch.results import Collected
from ray_pipeline.jobs.spec import UNREADABLE, Request, Run, Source, Unparsed
from ray_pipeline.providers.refusals import Answer, Refusal, Verdict

NOT_FOUND_PAUSE = timedelta(days=7)  # before an item that the provider does not know is retried


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """The rows of an answer, its unreadable parts, and the request of the next page."""

    rows: tuple[object, ...]
    bad: tuple[Unparsed, ...]
    next: Request | None


def read(source: Source, answer: Answer, request: Request, run: Run) -> ParsedAnswer | Verdict:
    """Return the content of an answer, or the verdict that it is a refusal."""
    # Classify first: several providers send refusals with HTTP 200, and a refusal that is parsed
    # as data looks like an answer without rows.
    verdict = source.provider.classify(answer)
    if verdict is not None:
        return verdict
    if source.body == "text":
        return _parse(source, answer.text, request, run)
    try:
        body = answer.body()
    except ValueError:
        return Verdict(Refusal.BROKEN, f"not JSON, or cut off: {answer.text[:100]!r}")
    return _parse(source, body, request, run)


def _parse(source: Source, body: object, request: Request, run: Run) -> ParsedAnswer:
    rows: list[object] = []
    bad: list[Unparsed] = []
    next_page: Request | None = None
    try:
        # `parse` may be a generator that fails half way: the rows before the failure count.
        for row in source.parse(body, request, run):
            if isinstance(row, Unparsed):
                bad.append(row)
            else:
                rows.append(row)
        next_page = source.follow(body, request, run) if source.follow else None
    except UNREADABLE as error:
        bad.append(Unparsed(str(body)[:1000], "unreadable", f"{type(error).__name__}: {error}"))
    return ParsedAnswer(tuple(rows), tuple(bad), next_page)


def collected(
    source: Source, parsed: ParsedAnswer, request: Request, *, answer: Answer
) -> Collected:
    """Return the result of a request that was answered with data."""
    state: ItemState = "done" if parsed.rows else "empty"
    why = ""
    if parsed.next is not None:
        state = "paging"
    elif not parsed.rows and parsed.bad:
        state, why = "failed", f"nothing of the answer could be read: {parsed.bad[0].detail}"
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
    )


def refused(request: Request, verdict: Verdict, *, now: datetime) -> Collected:
    """Return the result of a request that the provider refuses for good."""
    if verdict.refusal is Refusal.NOT_FOUND:
        not_before = now + NOT_FOUND_PAUSE
        return Collected(request, "not_found", not_before=not_before, why=verdict.message)
    return Collected(request, "failed", why=f"refused: {verdict.message}", is_refusal=True)

"""What an answer means for its item: pure, from the text to rows and progress."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ray_pipeline.batch.progress import ItemState
from ray_pipeline.batch.results import Collected
from ray_pipeline.jobs.spec import UNREADABLE, Request, Run, Source, Unparsed
from ray_pipeline.providers.refusals import Refusal, Verdict
from ray_pipeline.transport.answer import Answer

UNKNOWN_FOR = timedelta(days=7)  # an item that the provider does not know is asked again then


@dataclass(frozen=True, slots=True)
class Reading:
    """The rows of an answer, and what was no row."""

    rows: tuple[object, ...]
    bad: tuple[Unparsed, ...]
    next: Request | None


def read(source: Source, answer: Answer, request: Request, run: Run) -> Reading | Verdict:
    """Return what an answer holds, or why it is none."""
    verdict = source.provider.classify(answer)
    if verdict is not None:
        return verdict
    if source.body == "json":
        try:
            body = answer.body()
        except ValueError:
            return Verdict(Refusal.BROKEN, f"not JSON, or cut off: {answer.text[:100]!r}")
    else:
        body = answer.text
    return _parse(source, body, request, run)


def _parse(source: Source, body: object, request: Request, run: Run) -> Reading:
    rows: list[object] = []
    bad: list[Unparsed] = []
    following: Request | None = None
    try:
        # A generator that fails half way has given good rows before.
        for row in source.parse(body, request, run):
            if isinstance(row, Unparsed):
                bad.append(row)
            else:
                rows.append(row)
        following = source.follow(body, request, run) if source.follow else None
    except UNREADABLE as error:
        bad.append(Unparsed(str(body)[:1000], "unreadable", f"{type(error).__name__}: {error}"))
    return Reading(tuple(rows), tuple(bad), following)


def collected(
    source: Source, reading: Reading, request: Request, *, answer: Answer, calls: int
) -> Collected:
    """Return what is to be stored of an answer that is data."""
    state: ItemState = "done" if reading.rows else "empty"
    why = ""
    if reading.next is not None:
        state = "paging"
    elif not reading.rows and reading.bad:
        state, why = "failed", f"nothing of the answer could be read: {reading.bad[0].detail}"
    elif not reading.rows and not source.empty and request.page == 0:
        state, why = "failed", "the answer had no row, which this dataset never has"
    return Collected(
        request,
        state,
        rows=reading.rows,
        bad=reading.bad,
        text=answer.text,
        received_at=answer.received_at,
        next=reading.next,
        why=why,
        calls=calls,
    )


def refused(request: Request, verdict: Verdict, *, now: datetime, calls: int) -> Collected:
    """Return what is to be stored of an item that the provider will not give."""
    if verdict.refusal is Refusal.NOT_FOUND:
        return Collected(
            request,
            "not_found",
            not_before=now + UNKNOWN_FOR,
            why=verdict.message,
            calls=calls,
        )
    return Collected(request, "failed", why=verdict.message, calls=calls)


def tally(results: Iterable[Collected]) -> dict[ItemState, int]:
    """Return how many items ended in which state."""
    counts: dict[ItemState, int] = {}
    for result in results:
        counts[result.state] = counts.get(result.state, 0) + 1
    return counts

"""Read a range of rows that spans several pages."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from ray_pipeline.errors import PipelineError
from ray_pipeline.notebook.frames import Row, time_of
from ray_pipeline.storage.postgres.pages import Page, PageRequest
from ray_pipeline.timestamps import shifted

PAGE_ROWS = 5_000  # the maximum of the API
JUST_BEFORE = timedelta(milliseconds=1)  # the resolution of event times

Read = Callable[[PageRequest], Awaitable[Page]]
Moment = datetime | str


async def between(
    read: Read,
    symbol: str,
    *,
    start: datetime | None,
    end: datetime | None,
    limit: int,
    when: Callable[[Row], datetime],
) -> list[Row]:
    """
    Return a symbol's rows from `start` up to, but excluding, `end`, oldest first.

    With `start` these are the first `limit` rows, without it the last ones: then the pages are read
    backwards from `end`.
    """
    newest_first = start is None
    # A page begins after a time and excludes it, but `start` is included.
    after: object | None = end if start is None else shifted(start, -JUST_BEFORE)
    rows: list[Row] = []
    while len(rows) < limit:
        size = min(PAGE_ROWS, limit - len(rows))
        page = await read(PageRequest(symbol, after, size, newest_first))
        rows += page.rows
        after = page.next
        # Backwards, the first page already ends before `end`; forwards, the last page may pass it.
        if after is None or (not newest_first and end is not None and when(rows[-1]) >= end):
            break
    if newest_first:
        return rows[::-1]
    return rows if end is None else [row for row in rows if when(row) < end]


def moment(value: Moment | None, name: str) -> datetime | None:
    """
    Return a time in UTC; a time without a zone is in UTC.

    Raises:
        PipelineError: If the value is not a time.
    """
    if value is None:
        return None
    try:
        time = time_of(value)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError, AttributeError):
        raise PipelineError(
            f"{name}: {value!r} is no time",
            fix='give a datetime, or ISO 8601 such as "2026-01-05T14:30:00Z"',
        ) from None

"""Many pages as one answer, in order of time."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from ray_pipeline.errors import PipelineError
from ray_pipeline.notebook.frames import Row
from ray_pipeline.notebook.row_source import Page, Reading
from ray_pipeline.timestamps import shifted

PAGE_ROWS = 5_000  # the most that the API gives at once
JUST_BEFORE = timedelta(milliseconds=1)  # what is behind this is at or after the moment itself

Read = Callable[[Reading], Awaitable[Page]]
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
    Return a symbol's rows from `start` up to, and without, `end`, the oldest first.

    With `start` these are the first `limit` rows from there on, without it the last ones.
    """
    newest_first = start is None
    after: object | None = end if start is None else shifted(start, -JUST_BEFORE)
    rows: list[Row] = []
    while len(rows) < limit:
        size = min(PAGE_ROWS, limit - len(rows))
        page = await read(Reading(symbol, after, size, newest_first))
        rows += page.rows
        after = page.next
        if after is None or (not newest_first and end is not None and when(rows[-1]) >= end):
            break
    if newest_first:
        return rows[::-1]
    return rows if end is None else [row for row in rows if when(row) < end]


def moment(value: Moment | None, name: str) -> datetime | None:
    """
    Return a time in UTC; one without a zone is UTC already.

    Raises:
        PipelineError: If it is none.
    """
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError, AttributeError):
        raise PipelineError(
            f"{name}: {value!r} is no time",
            fix='give a datetime, or ISO 8601 such as "2026-01-05T14:30:00Z"',
        ) from None

"""Many pages are one answer; names of actors are short; a loop that runs is no obstacle."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.errors import PipelineError
from ray_pipeline.notebook import paging
from ray_pipeline.notebook.paging import between, moment
from ray_pipeline.storage.postgres.pages import Page

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)


class Rows:
    """A source of rows, one a second, as the stores page them."""

    def __init__(self, count: int) -> None:
        self._times = [BEGIN + timedelta(seconds=place) for place in range(count)]

    async def read(self, reading) -> Page:
        times = self._times[::-1] if reading.newest_first else self._times
        if reading.after is not None:
            times = [
                one for one in times
                if (one < reading.after if reading.newest_first else one > reading.after)
            ]  # fmt: skip
        some = times[: reading.limit]
        return Page([{"at": one} for one in some], some[-1] if len(some) == reading.limit else None)


@given(
    count=st.integers(0, 40),
    start=st.none() | st.integers(-2, 42),
    end=st.none() | st.integers(-2, 42),
    limit=st.integers(1, 50),
    page=st.integers(1, 7),
)
def test_a_range_is_what_a_list_would_give(count, start, end, limit, page):
    rows, times = Rows(count), [BEGIN + timedelta(seconds=place) for place in range(count)]
    first = None if start is None else BEGIN + timedelta(seconds=start)
    last = None if end is None else BEGIN + timedelta(seconds=end)
    usual, paging.PAGE_ROWS = paging.PAGE_ROWS, page
    try:
        found = asyncio.run(
            between(
                rows.read, "AAPL", start=first, end=last, limit=limit, when=lambda row: row["at"]
            )
        )
    finally:
        paging.PAGE_ROWS = usual
    wanted = [
        one for one in times if (first is None or one >= first) and (last is None or one < last)
    ]
    wanted = wanted[-limit:] if first is None else wanted[:limit]
    assert [row["at"] for row in found] == wanted


def test_a_moment_is_utc_and_anything_else_is_refused_with_an_example():
    assert moment("2026-01-05", "start") == BEGIN
    assert moment("2026-01-05T09:00:00+09:00", "start") == BEGIN
    assert moment(None, "start") is None
    with pytest.raises(PipelineError, match=r"start: 'soon' is no time\n  fix: .*2026-01-05"):
        moment("soon", "start")

"""The table that `up` and `demo` show while they run."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live

from ray_pipeline.cli.tables import render_job_summary, render_table
from ray_pipeline.errors import PipelineError
from ray_pipeline.observe.status import FeedRow, with_rates
from ray_pipeline.services.scheduling import scheduled
from ray_pipeline.settings import Settings
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.runs import last_runs
from ray_pipeline.storage.postgres.status_rows import read_feed_rows

INTERVAL_S = 1.0
LOG_INTERVAL_S = 5.0  # into a file or a pipe
LOG_WIDTH = 150  # of the widest table


async def watch(
    settings: Settings,
    console: Console,
    *,
    caption: str,
    stop: asyncio.Event,
    seconds: float | None,
) -> None:
    """Show the table until `seconds` have passed or `stop` is set; errors go to `console`."""
    deadline_s = time.monotonic() + seconds if seconds is not None else float("inf")
    output = make_console(stderr=False)
    interval_s = INTERVAL_S if output.is_terminal else LOG_INTERVAL_S
    rows: list[FeedRow] = []
    with _live(output) as live:
        while not stop.is_set() and time.monotonic() < deadline_s:
            try:
                async with session(settings.postgres_dsn(), name="status") as connection:
                    newest = [
                        row
                        for row in await read_feed_rows(connection)
                        if settings.feeds[row.feed].enabled
                    ]
                page = await _page(settings, with_rates(rows, newest) if rows else newest, caption)
                if live is not None:
                    live.update(page, refresh=True)
                else:
                    output.print(page)
                rows = newest
            except PipelineError as error:
                console.print(f"[yellow]{error}[/]")
            pause_s = max(0.0, min(interval_s, deadline_s - time.monotonic()))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_s)


@contextmanager
def _live(output: Console) -> Iterator[Live | None]:
    if not output.is_terminal:
        yield None
        return
    with Live(console=output, auto_refresh=False, transient=False) as live:
        yield live


async def _page(settings: Settings, rows: Sequence[FeedRow], caption: str) -> RenderableType:
    """Return the feeds and the states of the batch jobs."""
    table = render_table(list(rows))
    table.caption = caption
    if not settings.jobs.enabled:
        return table
    async with session(settings.postgres_dsn(), name="live table") as connection:
        last = await last_runs(connection)
    names = [spec.name for spec in scheduled(settings) if not spec.manual]
    return Group(table, render_job_summary(names, last))


def make_console(*, stderr: bool) -> Console:
    """Return a console; in a log file its lines are as wide as the widest table."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=LOG_WIDTH)

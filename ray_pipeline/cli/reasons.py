"""The command that explains why data is fresh or not."""

import difflib
from typing import Annotated

import typer

from ray_pipeline.catalog import all_jobs
from ray_pipeline.cli.common import AsJson, command, print_json
from ray_pipeline.errors import PipelineError
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.local.announced import keys_in_use
from ray_pipeline.observe.why_feed import explain_feed
from ray_pipeline.observe.why_symbol import explain_symbol
from ray_pipeline.settings import load
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.freshness_rows import (
    Freshness,
    by_source,
    of_feeds,
    of_jobs,
    why_row,
)
from ray_pipeline.storage.postgres.listed_symbols import listed_symbols
from ray_pipeline.storage.postgres.status_rows import read_status

TABLE_NAMES = {feed.latest_table: feed.table for feed in FEEDS if feed.latest_table}


@command
async def why(
    name: Annotated[
        str | None, typer.Argument(help="A feed, a job, a table or a symbol. Default: all.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> int:
    """
    Explain in one sentence why data is fresh or not, and what would change that.

    Without a name, it explains every feed and every job, as `/why` of the API does.
    """
    settings = load()
    keys = keys_in_use(settings)
    async with session(settings.postgres_dsn(), name="why") as connection:
        page = await read_status(connection, settings, stream_keys=keys.streams)
        rows = of_feeds(page)
        rows += await of_jobs(connection, keys=keys.counts(), scheduled=settings.jobs.enabled)
        answers = [why_row(row) for row in named_rows(rows, name)]
        if name is not None and not answers:
            feeds = {row.feed: explain_feed(row, page) for row in page.feeds}
            for listed in await listed_symbols(connection, settings.enabled_feeds(), name):
                answer = explain_symbol(listed, feeds[listed.feed], page)
                answers.append(
                    {"name": answer.name, "kind": "symbol", "fresh": answer.fresh}
                    | {"why": answer.sentence}
                )
    if name is not None and not answers:
        raise _unknown(name)
    if as_json:
        print_json(answers)
    else:
        for row in answers:
            typer.echo(row["why"])
    return 0


def named_rows(rows: list[Freshness], name: str | None) -> list[Freshness]:
    """Return the rows of a feed, a job or a table; without a name, one row per feed and job."""
    if name is None:
        return by_source(rows)
    table = TABLE_NAMES.get(name, name)
    return by_source([row for row in rows if name == row.source]) or [
        row for row in rows if table == row.table
    ]


def _unknown(name: str) -> PipelineError:
    names = [*(feed.name for feed in FEEDS), *(spec.name for spec in all_jobs())]
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return PipelineError(
        f"no feed, job, table or symbol is called {name!r}",
        fix=f"{hint}`ray-pipeline why` without a name explains all feeds and jobs",
    )

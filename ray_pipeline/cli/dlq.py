"""Commands for dead letters: records that were set aside with a reason."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ray_pipeline.cli.common import AsJson, Feed, check_feed, command, print_json, show
from ray_pipeline.cli.tables import render_dead_letters
from ray_pipeline.errors import PipelineError
from ray_pipeline.settings import load
from ray_pipeline.storage.dead_letter_store import (
    drop_dead_letters,
    list_dead_letters,
    payload_of,
    replay_dead_letters,
    unknown,
)
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.payloads import dead_letters_of_jobs, reread

dlq_app = typer.Typer(
    no_args_is_help=True,
    help="Dead letters: records that could not be stored, kept with their reason.",
)

STATES = ("open", "replayed", "dropped", "all")
Reason = Annotated[str | None, typer.Option(help="Only dead letters with this reason.")]
Everything = Annotated[
    bool, typer.Option("--all", help="All open dead letters, narrowed by --feed and --reason.")
]
Ids = Annotated[list[int] | None, typer.Argument(help="Numbers from `dlq list`.")]


@dlq_app.command("list")
@command
async def list_(
    *,
    feed: Feed = None,
    reason: Reason = None,
    state: Annotated[str, typer.Option(help="open, replayed, dropped or all.")] = "open",
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 100,
    as_json: AsJson = False,
) -> int:
    """List dead letters, oldest first, without their payloads."""
    if state not in STATES:
        raise PipelineError(f"no state {state!r}", fix=f"one of {', '.join(STATES)}")
    name = check_feed(feed)
    async with session(load().postgres_dsn(), name="dlq") as connection:
        rows = await list_dead_letters(
            connection,
            feed_name=name,
            reason=reason,
            state=None if state == "all" else state,
            limit=limit,
        )
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        show(render_dead_letters(rows))
    return 0


@dlq_app.command("show")
@command
async def show_dead_letter(
    dead_letter: Annotated[int, typer.Argument(metavar="ID", help="Number from `dlq list`.")],
    *,
    as_json: AsJson = False,
) -> int:
    """Show one dead letter: where it came from, why it was parked, and its payload."""
    async with session(load().postgres_dsn(), name="dlq") as connection:
        rows = await list_dead_letters(connection, state=None, ids=[dead_letter])
        if not rows:
            raise unknown([dead_letter])
        key, payload = await payload_of(connection, dead_letter)
    fields = asdict(rows[0]) | {"key": key, "payload": payload}
    if as_json:
        print_json(fields)
        return 0
    for name, value in fields.items():
        text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
        typer.echo(f"{name}: {text}")
    return 0


@dlq_app.command()
@command
async def replay(
    ids: Ids = None,
    *,
    everything: Everything = False,
    feed: Feed = None,
    reason: Reason = None,
    payload: Annotated[
        Path | None,
        typer.Option("--with", help="Send this file's content in place of the parked payload."),
    ] = None,
) -> int:
    """
    Send dead letters through Kafka again, or read a batch job's answers again, after a repair.

    Each gets a new identity, so it is stored once even if a replay is interrupted and repeated. A
    record that is still bad becomes a new dead letter. An answer that was kept aside as
    'incomplete' is accepted: its rows are stored, and its size is the usual one from then on.
    """
    settings = load()
    chosen = await _chosen(ids, everything=everything, feed=feed, reason=reason)
    if payload is not None and len(chosen) != 1:
        raise PipelineError("--with takes one dead letter", fix="name exactly one ID")
    content = None if payload is None else _read(payload)
    async with session(settings.postgres_dsn(), name="dlq") as connection:
        of_jobs = await dead_letters_of_jobs(connection, chosen)
    if of_jobs and content is not None:
        raise PipelineError(
            "--with is for records of a feed", fix="repair the job, then replay without it"
        )
    records = [number for number in chosen if number not in of_jobs]
    count = await replay_dead_letters(settings, records, payload=content) if records else 0
    if records or not of_jobs:
        typer.echo(f"replayed {count} dead letters")
    if of_jobs:
        stored, bad = await reread(settings.postgres_dsn(), list(of_jobs.values()))
        typer.echo(f"read {len(set(of_jobs.values()))} answers again: {stored} rows, {bad} bad")
    return 0


@dlq_app.command()
@command
async def drop(
    ids: Ids = None,
    *,
    why: Annotated[str, typer.Option(help="The reason, kept with the dead letter.")],
    everything: Everything = False,
    feed: Feed = None,
    reason: Reason = None,
) -> int:
    """Drop dead letters for a reason. They stay in the table and no longer count as open."""
    chosen = await _chosen(ids, everything=everything, feed=feed, reason=reason)
    async with session(load().postgres_dsn(), name="dlq") as connection:
        count = await drop_dead_letters(connection, chosen, why=why)
    typer.echo(f"dropped {count} dead letters")
    return 0


async def _chosen(
    ids: Sequence[int] | None, *, everything: bool, feed: str | None, reason: str | None
) -> list[int]:
    if bool(ids) == everything:
        raise PipelineError("which dead letters?", fix="name their IDs, or --all")
    if ids:
        return list(dict.fromkeys(ids))
    name = check_feed(feed)
    async with session(load().postgres_dsn(), name="dlq") as connection:
        rows = await list_dead_letters(connection, feed_name=name, reason=reason)
    return [row.id for row in rows]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PipelineError(f"{path} cannot be read: {error.strerror}") from None

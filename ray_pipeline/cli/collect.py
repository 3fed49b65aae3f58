"""Commands that collect batch datasets: run and backfill. Also the process of a scheduled run."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ray_pipeline.batch.outcome import Outcome
from ray_pipeline.batch.permits import Limiter
from ray_pipeline.catalog import job
from ray_pipeline.cli.common import AsJson, command, print_json
from ray_pipeline.errors import PipelineError
from ray_pipeline.services.job_run import collect
from ray_pipeline.settings import Settings, load
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.runs import recent_runs
from ray_pipeline.timestamps import in_utc

# The exit status of a command for each state of a run.
EXIT = {"succeeded": 0, "nothing_new": 0, "deferred": 0, "failed": 1, "refused": 1}

Name = Annotated[str, typer.Argument(help="A job's name, as `ray-pipeline jobs` lists them.")]
Slot = Annotated[
    str | None,
    typer.Option(help="The moment it was due, ISO 8601 (UTC without a zone). Default: now."),
]


@command
async def run(
    name: Name,
    *,
    slot: Slot = None,
    trigger: Annotated[str, typer.Option(hidden=True)] = "hand",
    again: Annotated[
        bool, typer.Option("--again", help="Request every item again, also collected ones.")
    ] = False,
    as_json: AsJson = False,
    until_stdin_ends: Annotated[bool, typer.Option(hidden=True)] = False,
) -> int:
    """
    Run one job now, in the foreground. It needs Postgres only.

    A run continues where an earlier run of the same slot stopped. On a cluster, use
    `ray job submit -- ray-pipeline run NAME`. Exit status: 0 if the run succeeded, found nothing
    new or was deferred by a quota (run it again later), 1 if it failed or was refused.
    """
    settings, spec = load(), job(name)
    if until_stdin_ends:
        asyncio.get_running_loop().add_reader(sys.stdin, _interrupt_at_end_of_stdin)
    moment = _moment(slot) if slot else datetime.now(UTC).replace(microsecond=0)
    async with _limiter() as limiter:
        outcome = await _collect(
            settings, name, moment, trigger=trigger, limiter=limiter, again=again, quiet=as_json
        )
    if as_json:
        print_json({"job": spec.name, "slot": moment} | outcome.as_json())
    else:
        typer.echo(_summary(spec.name, outcome))
    return EXIT[outcome.state]


@command
async def backfill(
    name: Name,
    *,
    from_: Annotated[str, typer.Option("--from", help="First day or moment, ISO 8601.")],
    to: Annotated[str | None, typer.Option(help="Last day or moment. Default: now.")] = None,
    as_json: AsJson = False,
) -> int:
    """
    Run a job for every slot of a past period that is not collected yet, oldest first.

    It stops when a quota is used up. Run it again to continue.
    """
    settings, spec = load(), job(name)
    first, last = _moment(from_), _moment(to) if to else datetime.now(UTC)
    slots = list(spec.schedule.between(first, last))
    if not slots:
        raise PipelineError(
            f"{name} has no slot between {first.isoformat()} and {last.isoformat()}",
            fix=f"its schedule is {spec.schedule.expression!r} in {spec.schedule.zone}",
        )
    async with session(settings.postgres_dsn(), name="backfill") as connection:
        stored_runs = await recent_runs(connection, job=name, limit=100_000)
    done = {row["slot"] for row in stored_runs if row["state"] in {"succeeded", "nothing_new"}}
    outcomes: list[dict[str, object]] = []
    worst = 0
    for slot in slots:
        if slot in done:
            continue
        outcome = await _collect(
            settings, name, slot, trigger="backfill", limiter=None, again=False, quiet=as_json
        )
        outcomes.append({"job": name, "slot": slot} | outcome.as_json())
        if not as_json:
            typer.echo(f"{slot:%Y-%m-%d %H:%M} UTC  {_summary(name, outcome)}")
        worst = max(worst, EXIT[outcome.state])
        if outcome.state in {"deferred", "refused"}:
            break
    if as_json:
        print_json(outcomes)
    else:
        typer.echo(f"{len(slots)} slots, {len(done & set(slots))} were collected before")
    return worst


async def _collect(
    settings: Settings,
    name: str,
    slot: datetime,
    *,
    trigger: str,
    limiter: Limiter | None,
    again: bool,
    quiet: bool,
) -> Outcome:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rows]} rows"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(name, total=None, rows=0)

        def show_progress(outcome: Outcome) -> None:
            rows = outcome.counts.seen
            bar.update(task, completed=outcome.items_done, total=outcome.items, rows=rows)

        return await collect(
            settings,
            job(name),
            slot,
            trigger=trigger,
            limiter=limiter,
            again=again,
            on_progress=show_progress,
        )


def _interrupt_at_end_of_stdin() -> None:
    """End like Ctrl-C, which records the end of the run, when the parent process ends."""
    if not os.read(sys.stdin.fileno(), 1024):
        asyncio.get_running_loop().remove_reader(sys.stdin)
        signal.raise_signal(signal.SIGINT)


@contextlib.asynccontextmanager
async def _limiter() -> AsyncIterator[Limiter | None]:
    """Yield the limiter of the cluster inside a Ray job, else None: the run uses the ledger."""
    # Ray sets both for the process of a job.
    if not os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") or not os.environ.get("RAY_ADDRESS"):
        yield None
        return
    from ray_pipeline.actors import remote_limiter  # noqa: PLC0415 - Ray takes a second to import

    limiter = await asyncio.to_thread(remote_limiter.connect)
    try:
        yield limiter
    finally:
        await asyncio.to_thread(remote_limiter.disconnect)


def _summary(name: str, outcome: Outcome) -> str:
    counts = outcome.counts
    parts = [
        f"{name}: {outcome.state.replace('_', ' ')}",
        f"{outcome.items_done} of {outcome.items} items",
        f"{outcome.calls} calls",
        f"{counts.new} new and {counts.changed} changed of {counts.seen} rows",
    ]
    if counts.parked:
        parts.append(f"{counts.parked} parked (`ray-pipeline dlq list`)")
    line = ", ".join(parts)
    if outcome.not_before is not None:
        line += f"; it may go on at {outcome.not_before:%Y-%m-%d %H:%M:%S} UTC"
    return f"{line}: {outcome.why}" if outcome.why else line


def _moment(text: str) -> datetime:
    try:
        return in_utc(datetime.fromisoformat(text))
    except ValueError:
        raise PipelineError(
            f"{text!r} is no time", fix="write 2026-11-23 or 2026-11-23T06:00:00Z"
        ) from None


def main() -> None:
    """Run one job in a scheduled process, without the imports of the other commands."""
    # A traceback with local variables would show the keys.
    app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
    app.command()(run)
    app()


if __name__ == "__main__":
    main()

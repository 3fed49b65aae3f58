"""Commands for batch jobs: list, run, backfill, plan, why, runs, findings, quotas, new."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ray_pipeline.batch.outcome import Outcome
from ray_pipeline.batch.permits import Limiter
from ray_pipeline.batch.timetable import breaches, now, plan_year, usual_keys
from ray_pipeline.catalog import all_jobs, job, jobs_of_table
from ray_pipeline.cli import skeleton
from ray_pipeline.cli.common import AsJson, command, print_json, show
from ray_pipeline.cli.tables import (
    render_breaches,
    render_findings,
    render_jobs,
    render_plans,
    render_quotas,
    render_runs,
)
from ray_pipeline.errors import PipelineError
from ray_pipeline.local.announced import keys_in_use
from ray_pipeline.observe.job_list import job_facts, meaning_of_empty
from ray_pipeline.observe.why import explain
from ray_pipeline.providers.registry import provider_names
from ray_pipeline.services.job_run import collect
from ray_pipeline.settings import Settings, load
from ray_pipeline.storage.postgres.clock_jumps import accept_clock, read_clock_jumps
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.job_store import read_inputs
from ray_pipeline.storage.postgres.quality_facts import recent_findings
from ray_pipeline.storage.postgres.quota_rows import read_quotas
from ray_pipeline.storage.postgres.runs import last_runs, recent_runs
from ray_pipeline.timestamps import in_utc

# The exit status of a command for each state of a run.
EXIT = {"succeeded": 0, "nothing_new": 0, "deferred": 0, "failed": 1, "refused": 1}

Name = Annotated[str, typer.Argument(help="A job's name, as `ray-pipeline jobs` lists them.")]
Slot = Annotated[
    str | None,
    typer.Option(help="The moment it was due, ISO 8601 (UTC without a zone). Default: now."),
]
KEY_COUNT = re.compile(r"(\w+)=(\d+)")

new_app = typer.Typer(no_args_is_help=True, help="Write the beginning of something.")


@command
async def jobs(*, as_json: AsJson = False) -> int:
    """List the batch datasets with their sources, schedules and tables."""
    specs, moment = all_jobs(), datetime.now(UTC)
    if as_json:
        print_json(
            [
                job_facts(spec, now=moment)
                | {"sweep": spec.sweep, "catch_up": spec.catch_up}
                | {"empty": {each.provider.name: meaning_of_empty(each) for each in spec.sources}}
                for spec in specs
            ]
        )
    else:
        show(render_jobs(specs, moment))
    return 0


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


@command
async def plan(
    *,
    keys: Annotated[
        str | None,
        typer.Option(help="Plan with these numbers of keys: alpha_vantage=4,coingecko=4,..."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """
    Add up a year of calls and compare it with every quota.

    The plan assumes the keys that are set, or the usual numbers of keys if none is set. With a
    database it counts the stored symbols. Exit status: 0 if everything fits, 1 otherwise.
    """
    settings = load()
    counts = _key_counts(keys) if keys else usual_keys(settings.key_counts())
    inputs = {}
    if settings.postgres.dsn is not None:
        async with session(settings.postgres_dsn(), name="plan") as connection:
            for spec in all_jobs():
                inputs[spec.name] = await read_inputs(connection, spec.inputs)
    plans = plan_year(all_jobs(), keys=counts, start=now(), inputs=inputs)
    broken = breaches(plans, keys=counts)
    if as_json:
        print_json(
            {
                "keys": counts,
                "fits": not broken,
                "breaches": [breach.sentence() for breach in broken],
                "jobs": [
                    {
                        "job": job_plan.job,
                        "provider": job_plan.provider.name if job_plan.provider else None,
                        "runs": len(job_plan.calls),
                        "calls": job_plan.total,
                        "items": job_plan.items,
                        "complete_at": job_plan.complete_at,
                        "why_not": job_plan.why_not,
                    }
                    for job_plan in plans
                ],
            }
        )
    else:
        show(render_plans(plans, counts))
        show(render_breaches(broken))
    return 1 if broken else 0


@command
async def why(
    name: Annotated[str, typer.Argument(help="A job or a table.")], *, as_json: AsJson = False
) -> int:
    """Explain in one sentence why a dataset is not fresh, and what would change that."""
    settings = load()
    specs = jobs_of_table(name) or (job(name),)
    keys = keys_in_use(settings).counts()
    async with session(settings.postgres_dsn(), name="why") as connection:
        last = await last_runs(connection)
    answers = [
        explain(
            spec,
            last.get(spec.name),
            now=datetime.now(UTC),
            keys=keys,
            scheduled=settings.jobs.enabled,
        )
        for spec in specs
    ]
    if as_json:
        print_json(
            [
                {"job": answer.name, "fresh": answer.fresh, "why": answer.sentence}
                for answer in answers
            ]
        )
    else:
        for answer in answers:
            typer.echo(answer.sentence)
    return 0


@command
async def runs(
    name: Annotated[str | None, typer.Argument(help="Only this job's.")] = None,
    *,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 30,
    as_json: AsJson = False,
) -> int:
    """List the newest runs with their states, calls, rows and reasons."""
    if name is not None:
        job(name)
    async with session(load().postgres_dsn(), name="runs") as connection:
        rows = await recent_runs(connection, job=name, limit=limit)
    if as_json:
        print_json(rows)
    else:
        show(render_runs(rows))
    return 0


@command
async def findings(
    name: Annotated[str | None, typer.Argument(help="Only this job's.")] = None,
    *,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 30,
    as_json: AsJson = False,
) -> int:
    """
    List the findings of checks: keys, ranges, few rows, no new events; and runs that were not
    started in the usual way.
    """
    if name is not None:
        job(name)
    async with session(load().postgres_dsn(), name="findings") as connection:
        rows = await recent_findings(connection, job=name, limit=limit)
    if as_json:
        print_json(rows)
    else:
        show(render_findings(rows))
    return 0


@command
async def quotas(
    *,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept-clock", help="Take the clock of Postgres for right after a jump forward."
        ),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """
    Show the used and remaining calls of every key, by fingerprint, and when windows restart.

    If the clock of Postgres jumps forward by more than 30 s, calls count by the time before and
    after the jump, so that no window opens early. The jump is shown until it is accepted, or until
    the clock is set back.
    """
    settings = load()
    keys = keys_in_use(settings)
    async with session(settings.postgres_dsn(), name="quotas") as connection:
        if accept:
            await accept_clock(connection)
        rows = await read_quotas(connection, keys.by_provider, speed=keys.speed)
        jumps = await read_clock_jumps(connection)
    if as_json:
        print_json([row.as_json() for row in rows])
    else:
        show(Group(render_quotas(rows), *map(str, jumps)))
    return 0


@new_app.command("job")
@command
async def new_job(
    name: Annotated[str, typer.Argument(help="lower_case_with_underscores")],
    *,
    into: Annotated[Path, typer.Option(help="The project's folder.", file_okay=False)] = Path(),
) -> int:
    """Write a working dataset: its module, the migration of its table, and its test."""
    for path in skeleton.write(name, into):
        typer.echo(f"wrote {path}")
    typer.echo(f"next: fill in plan and parse, then `ray-pipeline run {name}`")
    return 0


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


def _key_counts(text: str) -> dict[str, int]:
    names = provider_names()
    counts: dict[str, int] = {}
    for part in text.split(","):
        match = KEY_COUNT.fullmatch(part.strip())
        if match is None or match[1] not in names:
            raise PipelineError(
                f"--keys {part.strip()!r} cannot be read",
                fix=f"PROVIDER=COUNT, comma separated; providers: {', '.join(names)}",
            )
        counts[match[1]] = int(match[2])
    return counts


def main() -> None:
    """Run one job in a scheduled process, without the imports of the other commands."""
    # A traceback with local variables would show the keys.
    app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
    app.command()(run)
    app()


if __name__ == "__main__":
    main()

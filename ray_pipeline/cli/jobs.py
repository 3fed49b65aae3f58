"""Commands that inspect batch jobs: jobs, plan, runs, findings, quotas; and new."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group

from ray_pipeline.batch.timetable import breaches, now, plan_year, usual_keys
from ray_pipeline.catalog import all_jobs, job
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
from ray_pipeline.providers.registry import provider_names
from ray_pipeline.settings import load
from ray_pipeline.storage.postgres.clock_jumps import accept_clock, read_clock_jumps
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.job_inputs import read_inputs
from ray_pipeline.storage.postgres.quality_facts import recent_findings
from ray_pipeline.storage.postgres.quota_rows import read_quotas
from ray_pipeline.storage.postgres.runs import recent_runs

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

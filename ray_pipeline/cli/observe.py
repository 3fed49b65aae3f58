"""Commands that inspect the pipeline: audit, status, gaps, doctor; and migrate."""

import asyncio
import re
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Group

from ray_pipeline.catalog import all_jobs
from ray_pipeline.cli.common import AsJson, Feed, check_feed, command, print_json, show
from ray_pipeline.cli.tables import (
    render_audit,
    render_gaps,
    render_job_summary,
    render_quotas,
    render_status,
)
from ray_pipeline.errors import PipelineError
from ray_pipeline.local.announced import keys_in_use
from ray_pipeline.observe import doctor as judge
from ray_pipeline.observe.status import with_rates
from ray_pipeline.settings import load
from ray_pipeline.storage.audit_facts import WAIT_S, run_audit
from ray_pipeline.storage.doctor_facts import examine
from ray_pipeline.storage.migrations import migrate as apply_migrations
from ray_pipeline.storage.migrations import unapplied
from ray_pipeline.storage.postgres.clock_jumps import read_clock_jumps
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.gap_rows import list_gaps
from ray_pipeline.storage.postgres.quota_rows import read_quotas
from ray_pipeline.storage.postgres.runs import last_runs
from ray_pipeline.storage.postgres.status_rows import read_feed_rows, read_status
from ray_pipeline.timestamps import in_utc

RATE_SAMPLE_S = 1.0
_AGO = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_MARKS = {"ok": "ok  ", "warning": "WARN", "failed": "FAIL", "info": "-   "}


@command
async def audit(
    *,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for records that are on their way.")
    ] = WAIT_S,
    as_json: AsJson = False,
) -> int:
    """
    Prove that every published record is stored once, or say what is unexplained.

    Producers number their records. The audit compares those numbers with the rows in Postgres, the
    values in Redis, and the rows of gaps and dead_letters. It may run while the pipeline runs: it
    judges the records that were published before it began.

    Exit status: 0 if everything is explained; 1 if records are missing, duplicated, uncounted, or
    newer in Postgres than in Redis, or if a store cannot be reached; 2 if it could not begin.
    """
    verdict = await run_audit(load(), wait_s=wait)
    if as_json:
        print_json(verdict.as_json())
    else:
        show(render_audit(verdict))
    return 0 if verdict.clean else 1


@command
async def status(*, as_json: AsJson = False) -> int:
    """
    Show the state of feeds, producers, consumers, batch jobs and quotas on one page.

    It names the symbols that no producer collects, with the reason, the time for which Redis keeps
    single seconds, and topics that differ from the settings. Rates are measured over one second, so
    the command takes about that long. It scans no history and may be called often.
    """
    settings = load()
    dsn, keys = settings.postgres_dsn(), keys_in_use(settings)
    async with session(dsn, name="status") as connection:
        before = await read_feed_rows(connection)
        await asyncio.sleep(RATE_SAMPLE_S)
        page = await read_status(connection, settings, stream_keys=keys.streams)
        page = replace(page, feeds=tuple(with_rates(before, page.feeds)))
        last = await last_runs(connection)
        quotas = await read_quotas(connection, keys.by_provider, speed=keys.speed)
        jumps = await read_clock_jumps(connection)
    if as_json:
        batch = {"jobs": last, "quotas": [row.as_json() for row in quotas]}
        print_json(page.as_json() | batch | {"clock_jumps": [jump.as_json() for jump in jumps]})
    else:
        names = [spec.name for spec in all_jobs() if not spec.manual]
        tables = render_status(page), render_job_summary(names, last), render_quotas(quotas)
        show(Group(*tables, *map(str, jumps)))
    return 0


@command
async def gaps(
    *,
    feed: Feed = None,
    since: Annotated[
        str | None,
        typer.Option(help="Recorded since: 30m, 24h, 7d, or an ISO time; UTC without an offset."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """
    List the data that could not be collected: shard, symbols, time and cause.

    Producers report every disconnection. A range of numbers that was published and never arrived
    has the kind 'sequence'.
    """
    name, moment = check_feed(feed), _moment(since)
    async with session(load().postgres_dsn(), name="gaps") as connection:
        rows = await list_gaps(connection, feed_name=name, since=moment)
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        show(render_gaps(rows))
    return 0


@command
async def migrate(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 if a migration is pending.")
    ] = False,
) -> int:
    """
    Bring the database's schema up to date and create the monthly partitions ahead.

    It may be repeated, also from several machines at once: each file is applied once, completely
    or not at all.
    """
    dsn = load().postgres_dsn()
    if check:
        async with session(dsn, name="migrate") as connection:
            pending = await unapplied(connection)
        for name in pending:
            typer.echo(f"pending: {name}")
        return 1 if pending else 0
    if not await apply_migrations(dsn, on_progress=lambda name: typer.echo(f"applied {name}")):
        typer.echo("up to date")
    return 0


@command
async def doctor(*, as_json: AsJson = False) -> int:
    """
    Check every dependency, and show the fix of each failure.

    It checks Python, Ray and its auth mode, disk, Postgres (version, writes, clock, schema, monthly
    partitions, topic prefix), Redis (writes, eviction, memory and budget), Kafka (reachable,
    topics, their partitions and who dates their records) and API keys. Java and Maven are listed
    only. Exit status: 1 if a check failed; warnings do not count.
    """
    settings = load()
    checks = await examine(settings, home=settings.home_dir())
    if as_json:
        print_json(judge.as_json(checks))
    else:
        for check in checks:
            typer.echo(f"{_MARKS[check.state]}  {check.name}: {check.detail}")
            if check.fix and check.state in ("failed", "warning"):
                typer.echo(f"        fix: {check.fix}")
    return 0 if judge.healthy(checks) else 1


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        # A number with a unit is an age; anything else must be an ISO time.
        if match := _AGO.fullmatch(text):
            return datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
        return in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise PipelineError(
            f"--since {text!r} is no time", fix="such as 30m, 24h, 7d or 2026-05-01T13:30"
        ) from None

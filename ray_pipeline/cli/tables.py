"""How rows look in a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ray_pipeline.batch.timetable import Breach, JobPlan
from ray_pipeline.jobs.spec import JobSpec
from ray_pipeline.observe.audit import Audit, names
from ray_pipeline.observe.status import FeedRow, Status, age
from ray_pipeline.storage.dead_letter_store import ListedDeadLetter
from ray_pipeline.storage.postgres.gap_rows import GapRow
from ray_pipeline.storage.postgres.quota_rows import QuotaRow
from ray_pipeline.timestamps import in_utc


def table(title: str, *columns: str) -> Table:
    """Return an empty table; a column whose name begins with `>` is aligned to the right."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.lstrip(">"), justify="right" if right else "left", no_wrap=right)
    return made


def render_table(rows: Iterable[FeedRow]) -> Table:
    """Return one line per feed: what runs, how fast, how far."""
    made = table(
        "Feeds", "feed", ">symbols", ">shards", ">records/s", ">stored", ">lag", ">last record",
        ">gaps 24 h", "redis",
    )  # fmt: skip
    for row in rows:
        made.add_row(
            row.feed,
            f"{row.symbols_confirmed}/{row.symbols_wanted}",
            f"{row.shards_running}/{row.shards_known}",
            "-" if row.records_per_s is None else f"{row.records_per_s:,.1f}",
            f"{row.stored:,}",
            f"{row.lag:,}",
            age(row.last_record_age_s),
            str(row.gaps_24h),
            row.redis_state or "-",
        )
    return made


def render_status(status: Status) -> Group:
    """Return the status page."""
    parts: list[RenderableType] = [render_table(status.feeds)]
    if status.uncovered:
        parts += ["", _uncovered(status)]
    if status.shards:
        parts += ["", _shards(status)]
    if status.consumers:
        parts += ["", _consumers(status)]
    if status.dead_letters:
        parts += ["", _dead_letters(status)]
    return Group(*parts)


def render_audit(audit: Audit) -> Group:
    """Return the audit's figures, then each problem with its fix."""
    made = table(
        "Audit", "feed", ">published", ">stored", ">parked", ">lost", ">duplicates", ">missing",
        ">gaps", ">dead letters", ">redis behind", ">unexplained",
    )  # fmt: skip
    for feed in audit.feeds:
        counts = (
            feed.published, feed.stored, feed.parked, feed.lost, feed.duplicates, feed.missing,
            feed.gaps, feed.dead_letters, feed.redis_behind, feed.unexplained,
        )  # fmt: skip
        made.add_row(feed.feed, *(f"{count:,}" for count in counts))
    lines = [Text(f"! {problem.text}\n  fix: {problem.fix}") for problem in audit.problems]
    lines += [
        Text(f"! {feed.feed}: {problem.text}\n  fix: {problem.fix}")
        for feed in audit.feeds
        for problem in feed.problems
    ]
    verdict = "clean: everything is explained" if audit.clean else "NOT clean"
    return Group(made, "", *lines, Text(verdict, style="bold"))


def render_gaps(rows: Iterable[GapRow]) -> RenderableType:
    """Return one line per gap."""
    made = table(
        "Gaps", "feed", ">shard", ">epoch", "kind", "from", "to", ">records", "symbols", "cause"
    )
    for row in rows:
        made.add_row(
            row.feed, str(row.shard), str(row.epoch), row.kind, _time(row.from_at),
            _time(row.to_at), _numbers(row), _symbols(row.symbols), row.cause,
        )  # fmt: skip
    return made if made.row_count else "no gaps"


def render_letters(rows: Iterable[ListedDeadLetter]) -> RenderableType:
    """Return one line per dead letter."""
    made = table(
        "Dead letters", ">id", "feed", "identity", "parked", "state", "reason", ">bytes", "detail"
    )
    for row in rows:
        identity = "-" if row.shard is None else f"{row.shard}/{row.epoch}/{row.seq}"
        made.add_row(
            str(row.id), row.feed, identity, _time(row.parked_at), row.state, row.reason,
            f"{row.size_bytes:,}", row.resolution or row.detail,
        )  # fmt: skip
    return made if made.row_count else "no dead letters"


def _time(moment: datetime | None) -> str:
    return "-" if moment is None else f"{in_utc(moment):%Y-%m-%d %H:%M:%S}Z"


def _numbers(row: GapRow) -> str:
    if row.first_seq is None or row.last_seq is None:
        return "-"
    return f"{row.first_seq}-{row.last_seq}"


def _symbols(symbols: list[str] | None) -> str:
    return "all" if symbols is None else names(symbols)


def _uncovered(status: Status) -> Table:
    made = table("Not covered", "feed", ">symbols", "why", "which")
    for row in status.uncovered:
        made.add_row(row.feed, str(len(row.symbols)), row.why, names(row.symbols))
    return made


def _shards(status: Status) -> Table:
    made = table(
        "Producers", "feed", ">shard", ">epoch", "state", ">symbols", ">published", ">spooled",
        ">reconnects", ">last data", ">heartbeat", "cause",
    )  # fmt: skip
    for row in status.shards:
        made.add_row(
            row.feed, str(row.shard), str(row.epoch), row.state, f"{row.confirmed}/{row.wanted}",
            f"{row.published:,}", f"{row.spooled:,}", str(row.reconnects), age(row.last_data_age_s),
            age(row.heartbeat_age_s), row.trouble,
        )  # fmt: skip
    return made


def _consumers(status: Status) -> Table:
    made = table(
        "Consumers", "topic", ">partition", "state", ">lag", ">next offset", ">redelivered",
        "redis", ">heartbeat", "cause",
    )  # fmt: skip
    for row in status.consumers:
        made.add_row(
            row.topic, str(row.partition), row.state, f"{row.lag:,}", f"{row.next_offset:,}",
            f"{row.redelivered:,}", row.redis_state or "-", age(row.heartbeat_age_s), row.cause,
        )  # fmt: skip
    return made


def _dead_letters(status: Status) -> Table:
    made = table("Open dead letters", "feed", "reason", ">count", ">newest")
    for row in status.dead_letters:
        made.add_row(row.feed, row.reason, f"{row.count:,}", age(row.newest_age_s))
    return made


def render_jobs(specs: Iterable[JobSpec], now: datetime) -> Table:
    """Return one line per batch dataset."""
    made = table("Jobs", "job", "what", "sources", "tables", "schedule", "next (UTC)")
    for spec in specs:
        made.add_row(
            spec.name,
            spec.title,
            ", ".join(source.provider.name for source in spec.sources) or "own tables",
            ", ".join(one.name for one in spec.tables),
            "on request" if spec.manual else f"{spec.schedule.expression} {spec.schedule.zone}",
            "-" if spec.manual else f"{spec.schedule.next(now):%m-%d %H:%M}",
        )
    return made


STATE_STYLES = {
    "succeeded": "green",
    "nothing_new": "green",
    "running": "cyan",
    "claimed": "cyan",
    "deferred": "yellow",
    "failed": "red",
    "refused": "red",
}


def render_runs(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return one line per run."""
    made = table(
        "Runs", "job", "slot (UTC)", "state", ">try", ">items", ">calls", ">new", ">changed",
        ">parked", "why",
    )  # fmt: skip
    for row in rows:
        until = f" until {row['not_before']:%m-%d %H:%M}" if row["not_before"] else ""
        made.add_row(
            row["job"],
            f"{row['slot']:%m-%d %H:%M:%S}",
            Text(row["state"].replace("_", " ") + until, STATE_STYLES.get(row["state"], "")),
            str(row["attempt"]),
            f"{row['items_done']}/{row['items']}",
            str(row["calls"]),
            f"{row['rows_new']:,}",
            f"{row['rows_changed']:,}",
            str(row["rows_parked"]),
            row["why"],
        )
    return made


def render_findings(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return one line per finding."""
    made = table("Findings", "found (UTC)", "job", "slot (UTC)", "table", "check", "what")
    for row in rows:
        found_at, slot = f"{row['found_at']:%m-%d %H:%M:%S}", f"{row['slot']:%m-%d %H:%M:%S}"
        made.add_row(found_at, row["job"], slot, row["table"], row["check"], row["detail"])
    return made


def render_quotas(rows: Iterable[QuotaRow]) -> Table:
    """Return one line per window of a key."""
    made = table(
        "Quotas", "provider", "key", "window", ">used", ">left", "room again (UTC)", "rests"
    )
    for row in rows:
        rests = ""
        if row.rests_until is not None:
            until = (
                "until it is changed"
                if row.rests_until.year > 9000
                else f"until {row.rests_until:%m-%d %H:%M}"
            )
            rests = f"{until}: {row.reason}"
        made.add_row(
            row.provider,
            row.key or "-",
            row.window,
            f"{row.used:,}",
            f"{row.left:,}",
            f"{row.resets_at:%m-%d %H:%M:%S}" if row.resets_at else "-",
            rests,
        )
    return made


def render_plans(plans: Sequence[JobPlan], keys: Mapping[str, int]) -> Table:
    """Return one line per job: a year of it."""
    made = table(
        "A year", "job", "provider", ">keys", ">runs", ">items", ">calls", "first full collection"
    )
    for plan in plans:
        provider = plan.provider.name if plan.provider else "-"
        made.add_row(
            plan.job,
            provider,
            str(keys.get(provider, 0) or "-"),
            str(len(plan.calls)),
            str(plan.items),
            f"{plan.total:,}",
            plan.why_not or (f"{plan.complete_at:%Y-%m-%d}" if plan.complete_at else "each run"),
        )
    return made


def render_breaches(broken: Sequence[Breach]) -> RenderableType:
    """Return the sums that do not fit, or that everything does."""
    if not broken:
        return Text("every quota holds", "green")
    return Group(*(Text(f"does not fit: {one.sentence()}", "red") for one in broken))


def render_job_summary(names: Sequence[str], last: Mapping[str, Mapping[str, Any]]) -> Text:
    """Return two lines about the batch jobs: how many ran and how, and what is at work."""
    states: dict[str, int] = {}
    for name in names:
        state = str(last[name]["state"]) if name in last else "not run yet"
        states[state] = states.get(state, 0) + 1
    text = Text(f"Jobs: {len(names)}", style="bold")
    for state, count in sorted(states.items()):
        text.append(f"  {count} {state.replace('_', ' ')}", STATE_STYLES.get(state, "dim"))
    wrong = [
        name for name in names if name in last and last[name]["state"] in {"failed", "refused"}
    ]
    working = [
        f"{name} {last[name]['items_done']}/{last[name]['items']}"
        for name in names
        if name in last and last[name]["state"] == "running"
    ]
    if working:
        text.append(f"\nrunning: {', '.join(working)}", "cyan")
    if wrong:
        text.append(f"\nsee `ray-pipeline why`: {', '.join(wrong)}", "red")
    return text

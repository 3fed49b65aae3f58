"""Rows as tables for a terminal."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from ray_pipeline.batch.timetable import Breach, JobPlan
from ray_pipeline.jobs.spec import JobSpec
from ray_pipeline.observe.audit import Audit, FeedAudit, names
from ray_pipeline.observe.freshness import age
from ray_pipeline.observe.status import FeedRow, Status
from ray_pipeline.storage.dead_letter_store import ListedDeadLetter
from ray_pipeline.storage.postgres.gap_rows import GapRow
from ray_pipeline.storage.postgres.quota_rows import QuotaRow
from ray_pipeline.timestamps import in_utc

Cells = Sequence[RenderableType]
UNLIMITED = 10_000  # characters
LONGEST_NAME = 24  # characters of a name that a narrow terminal does not wrap

STATE_STYLES = {
    "succeeded": "green", "nothing_new": "green", "running": "cyan", "claimed": "cyan",
    "deferred": "yellow", "failed": "red", "refused": "red",
}  # fmt: skip


def table(title: str, *columns: str, rows: Iterable[Cells] = ()) -> Table:
    """
    Return a table; a column with a name that begins with `>` is aligned to the right.

    In a narrow terminal the headers and the texts wrap. Numbers keep their width, because a number
    in two lines could be read as two numbers. So does a short first column, which names the row.
    """
    result = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    cells = [tuple(row) for row in rows]
    for index, column in enumerate(columns):
        right = column.startswith(">")
        content_width = max((cell_len(str(row[index])) for row in cells), default=0)
        limit = content_width if right else LONGEST_NAME if index == 0 else 0
        result.add_column(
            column.lstrip(">"),
            justify="right" if right else "left",
            min_width=min(content_width, limit),
        )
    for row in cells:
        result.add_row(*row)
    return result


def render_table(rows: Iterable[FeedRow]) -> Table:
    """Return one line per feed: its producers, its rate and its progress."""
    return table(
        "Feeds", "feed", ">symbols", ">shards", ">records/s", ">stored", ">lag", ">last record",
        ">gaps 24 h", "redis",
        rows=((
            row.feed, f"{row.symbols_confirmed}/{row.symbols_wanted}",
            f"{row.shards_running}/{row.shards_known}",
            "-" if row.records_per_s is None else f"{row.records_per_s:,.1f}",
            f"{row.stored:,}", f"{row.lag:,}", age(row.last_record_age_s), str(row.gaps_24h),
            row.redis_state or "-" if row.enabled else "disabled by setting",
        ) for row in rows),
    )  # fmt: skip


def render_status(status: Status) -> Group:
    """Return the status page; tables without a row are left out."""
    tables = [
        _uncovered(status), _shards(status), _topics(status), _consumers(status),
        _redis(status),
        _dead_letters(status),
    ]  # fmt: skip
    parts: list[RenderableType] = [status.database] if status.database else []
    parts.append(render_table(status.feeds))
    for part in tables:
        if part.row_count:
            parts += ["", part]
    return Group(*parts)


AUDIT_COLUMNS = (
    "published", "stored", "parked", "lost", "duplicates", "missing", "gaps", "dead_letters",
    "redis_behind", "unexplained",
)  # fmt: skip
ALWAYS_SHOWN = frozenset({"published", "stored", "unexplained"})


@dataclass(frozen=True, slots=True)
class AuditCounts:
    """The counts of each feed. A terminal that is too narrow shows no columns of zeros."""

    feeds: Sequence[FeedAudit]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table that fits the width."""
        full = self._table(AUDIT_COLUMNS)
        natural = console.measure(full, options=options.update(width=UNLIMITED))
        if natural.maximum <= options.max_width:
            yield full
            return
        shown = [
            name for name in AUDIT_COLUMNS
            if name in ALWAYS_SHOWN or any(getattr(feed, name) for feed in self.feeds)
        ]  # fmt: skip
        yield self._table(shown)
        if len(shown) < len(AUDIT_COLUMNS):
            yield Text("columns of zeros are not shown: the terminal is too narrow", style="dim")

    def _table(self, names: Sequence[str]) -> Table:
        return table(
            "Audit", "feed", *(f">{name.replace('_', ' ')}" for name in names),
            rows=((feed.feed, *(f"{getattr(feed, name):,}" for name in names))
                  for feed in self.feeds),
        )  # fmt: skip


def render_audit(audit: Audit) -> Group:
    """Return the audit's counts, then each problem with its fix."""
    counts = AuditCounts(audit.feeds)
    lines = [Text(f"! {problem.text}\n  fix: {problem.fix}") for problem in audit.problems]
    lines += [
        Text(f"! {feed.feed}: {problem.text}\n  fix: {problem.fix}")
        for feed in audit.feeds
        for problem in feed.problems
    ]
    verdict = "clean: everything is explained" if audit.clean else "NOT clean"
    return Group(counts, "", *lines, Text(verdict, style="bold"))


def render_gaps(rows: Iterable[GapRow]) -> RenderableType:
    """Return one line per gap."""
    gaps = table(
        "Gaps", "feed", ">shard", ">epoch", "kind", "from", "to", ">records", "symbols", "cause",
        rows=((
            row.feed, str(row.shard), str(row.epoch), row.kind, _time(row.from_at),
            _time(row.to_at), _numbers(row), "all" if row.symbols is None else names(row.symbols),
            row.cause,
        ) for row in rows),
    )  # fmt: skip
    return gaps if gaps.row_count else "no gaps"


def render_dead_letters(rows: Iterable[ListedDeadLetter]) -> RenderableType:
    """Return one line per dead letter."""
    dead_letters = table(
        "Dead letters", ">id", "feed", "identity", "parked", "state", "reason", ">bytes", "detail",
        rows=((
            str(row.id), row.feed,
            "-" if row.shard is None else f"{row.shard}/{row.epoch}/{row.seq}",
            _time(row.parked_at), row.state, row.reason, f"{row.size_bytes:,}",
            row.resolution or row.detail,
        ) for row in rows),
    )  # fmt: skip
    return dead_letters if dead_letters.row_count else "no dead letters"


def _time(moment: datetime | None) -> str:
    return "-" if moment is None else f"{in_utc(moment):%Y-%m-%d %H:%M:%S}Z"


def _numbers(row: GapRow) -> str:
    if row.first_seq is None or row.last_seq is None:
        return "-"
    return f"{row.first_seq}-{row.last_seq}"


def _uncovered(status: Status) -> Table:
    return table(
        "Not covered", "feed", ">symbols", "why", "which",
        rows=((row.feed, str(len(row.symbols) or "all"), row.why, names(row.symbols))
              for row in status.uncovered),
    )  # fmt: skip


def _shards(status: Status) -> Table:
    return table(
        "Producers", "feed", ">shard", ">epoch", "state", ">symbols", ">published", ">spooled",
        ">reconnects", ">last data", ">heartbeat", "cause",
        rows=((
            row.feed, str(row.shard), str(row.epoch), row.state, f"{row.confirmed}/{row.wanted}",
            f"{row.published:,}", f"{row.spooled:,}", str(row.reconnects), age(row.last_data_age_s),
            age(row.heartbeat_age_s), row.remark,
        ) for row in status.shards),
    )  # fmt: skip


def _topics(status: Status) -> Table:
    """Return the topics that differ from the settings, or that hold records nothing reads."""
    return table(
        "Topics", "topic", ">settings", ">broker", ">unread", ">checked", "cause",
        rows=((
            row.topic, str(row.configured), str(row.present), f"{row.unread_records:,}",
            age(row.checked_age_s), row.trouble or row.notice,
        ) for row in status.topics if row.trouble or row.notice),
    )  # fmt: skip


def _consumers(status: Status) -> Table:
    return table(
        "Consumers", "topic", ">partition", "state", ">lag", ">next offset", ">redelivered",
        "redis", ">heartbeat", "cause",
        rows=((
            row.topic, str(row.partition), row.state, f"{row.lag:,}", f"{row.next_offset:,}",
            f"{row.redelivered:,}", row.redis_state or "-", age(row.heartbeat_age_s), row.trouble,
        ) for row in status.consumers),
    )  # fmt: skip


def _redis(status: Status) -> Table:
    return table(
        "Seconds in Redis", "feed", ">MB", ">budget of all feeds, MB", ">kept for", "because",
        rows=((
            row.feed, f"{row.redis_bytes / 1e6:,.1f}",
            f"{(row.redis_budget_bytes or 0) / 1e6:,.0f}",
            age(row.redis_retention_s), row.redis_shortened,
        ) for row in status.feeds if row.redis_bytes is not None),
    )  # fmt: skip


def _dead_letters(status: Status) -> Table:
    return table(
        "Open dead letters", "feed", "reason", ">count", ">newest",
        rows=((row.feed, row.reason, f"{row.count:,}", age(row.newest_age_s))
              for row in status.dead_letters),
    )  # fmt: skip


def render_jobs(specs: Iterable[JobSpec], now: datetime) -> Table:
    """Return one line per batch dataset."""
    return table(
        "Jobs", "job", "what", "sources", "tables", "schedule", "next (UTC)",
        rows=((
            spec.name, spec.title,
            ", ".join(source.provider.name for source in spec.sources) or "own tables",
            ", ".join(spec.table_names),
            "on request" if spec.manual else f"{spec.schedule.expression} {spec.schedule.zone}",
            "-" if spec.manual else f"{spec.schedule.next(now):%m-%d %H:%M}",
        ) for spec in specs),
    )  # fmt: skip


def render_runs(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return one line per run."""
    return table(
        "Runs", "job", "slot (UTC)", "state", ">try", ">items", ">calls", ">new", ">changed",
        ">parked", "why",
        rows=((
            row["job"], f"{row['slot']:%m-%d %H:%M:%S}", _run_state(row), str(row["attempt"]),
            f"{row['items_done']}/{row['items']}", str(row["calls"]), f"{row['rows_new']:,}",
            f"{row['rows_changed']:,}", str(row["rows_parked"]), row["why"],
        ) for row in rows),
    )  # fmt: skip


def _run_state(row: Mapping[str, Any]) -> Text:
    until = f" until {row['not_before']:%m-%d %H:%M}" if row["not_before"] else ""
    return Text(row["state"].replace("_", " ") + until, STATE_STYLES.get(row["state"], ""))


def render_findings(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return one line per finding."""
    return table(
        "Findings", "found (UTC)", "job", "slot (UTC)", "table", "check", "what",
        rows=((
            f"{row['found_at']:%m-%d %H:%M:%S}", row["job"], f"{row['slot']:%m-%d %H:%M:%S}",
            row["table"], row["check"], row["detail"],
        ) for row in rows),
    )  # fmt: skip


def render_quotas(rows: Iterable[QuotaRow]) -> Table:
    """Return one line per window of a key."""
    return table(
        "Quotas", "provider", "key", "window", ">used", ">left", "room again (UTC)", "rests",
        rows=((
            row.provider, row.key or "-", row.window, f"{row.used:,}", f"{row.left:,}",
            f"{row.resets_at:%m-%d %H:%M:%S}" if row.resets_at else "-", _cooldown(row),
        ) for row in rows),
    )  # fmt: skip


def _cooldown(row: QuotaRow) -> str:
    if row.rests_until is None:
        return ""
    # A key that the provider rejects has no end of its cooldown: it is stored as year 9999.
    if row.rests_until.year > 9000:
        return f"until it is changed: {row.reason}"
    return f"until {row.rests_until:%m-%d %H:%M}: {row.reason}"


def render_plans(plans: Sequence[JobPlan], keys: Mapping[str, int]) -> Table:
    """Return one line per job: its calls in a year."""
    return table(
        "A year", "job", "provider", ">keys", ">runs", ">items", ">calls", "first full collection",
        rows=(_plan(plan, keys) for plan in plans),
    )  # fmt: skip


def _plan(plan: JobPlan, keys: Mapping[str, int]) -> Cells:
    provider = plan.provider.name if plan.provider else "-"
    complete = f"{plan.complete_at:%Y-%m-%d}" if plan.complete_at else "each run"
    return (
        plan.job, provider, str(keys.get(provider, 0) or "-"), str(len(plan.calls)),
        str(plan.items), f"{plan.total:,}", plan.why_not or complete,
    )  # fmt: skip


def render_breaches(broken: Sequence[Breach]) -> RenderableType:
    """Return the quotas that the plan exceeds, or that it exceeds none."""
    if not broken:
        return Text("every quota holds", "green")
    return Group(*(Text(f"does not fit: {breach.sentence()}", "red") for breach in broken))


def render_job_summary(job_names: Sequence[str], last: Mapping[str, Mapping[str, Any]]) -> Text:
    """Return the number of batch jobs by state, then the running and the failed ones."""
    states = {
        name: str(last[name]["state"]) if name in last else "not run yet" for name in job_names
    }
    text = Text(f"Jobs: {len(job_names)}", style="bold")
    for state, count in sorted(Counter(states.values()).items()):
        text.append(f"  {count} {state.replace('_', ' ')}", STATE_STYLES.get(state, "dim"))
    running = [
        f"{name} {last[name]['items_done']}/{last[name]['items']}"
        for name, state in states.items()
        if state == "running"
    ]
    failed = [name for name, state in states.items() if state in {"failed", "refused"}]
    if running:
        text.append(f"\nrunning: {', '.join(running)}", "cyan")
    if failed:
        text.append(f"\nsee `ray-pipeline why`: {', '.join(failed)}", "red")
    return text

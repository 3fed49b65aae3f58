"""Earnings reports of two years, and the price in the first session after each report."""

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from ray_pipeline.errors import BadValue
from ray_pipeline.jobs._members import MEMBERS
from ray_pipeline.jobs._yahoo import yahoo_symbol
from ray_pipeline.jobs.spec import (
    MOSTLY_WHOLE,
    UNREADABLE,
    Empty,
    JobSpec,
    Json,
    Request,
    Run,
    Source,
    check_item,
    each,
)
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import at, decimal, elements, from_unix, grouped_decimal, required
from ray_pipeline.providers.yahoo import PROVIDER as YAHOO
from ray_pipeline.schedules.cron import NEW_YORK, Cron

SINCE = timedelta(days=730)
BEFORE = timedelta(days=10)  # the oldest report needs a session before it
PAGE_SIZE = 25  # reports, a few of which are in the future
CLOSE = time(16)
MARKET = ZoneInfo(NEW_YORK)
ZONES = {"EDT": MARKET, "EST": MARKET, "UTC": UTC, "GMT": UTC}
WRITTEN = re.compile(r"(\w+ \d+, \d{4})(?: at|,) (\d+)(?::(\d\d))? ?([AP]M) ?([A-Z]{3})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reaction:
    """One report and the first session after it."""

    symbol: str
    report_date: date  # in New York
    eps_estimate: Decimal | None
    eps_actual: Decimal | None
    surprise_pct: Decimal | None
    price_before_close: Decimal
    price_open: Decimal
    price_close: Decimal
    gap_pct: Decimal
    move_pct: Decimal
    reported_at: datetime
    reaction_date: date


@dataclass(frozen=True, slots=True)
class Report:
    """One line of the earnings calendar."""

    at: datetime
    estimate: Decimal | None
    actual: Decimal | None
    surprise: Decimal | None


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day."""

    day: date
    open: Decimal
    close: Decimal


def plan(run: Run) -> Iterator[Request]:
    """Request the reports of each company; `follow` requests its prices, once for all reports."""
    for symbol in run.values("members", "symbol"):
        yield Request(
            item=symbol,
            path="/calendar/earnings",
            params={"symbol": yahoo_symbol(symbol), "offset": "0", "size": str(PAGE_SIZE)},
        )


def follow(body: Json, request: Request, run: Run) -> Request | None:
    """Return the request of the prices in the time of the reports."""
    if request.page:
        return None
    lines = [line for line in body["earningsCalendar"]["result"] if _is_past(line, run)]
    if not lines:
        return None
    begin = run.slot - SINCE - BEFORE
    return Request(
        item=request.item,
        path=f"/v8/finance/chart/{yahoo_symbol(request.item)}",
        params={
            "interval": "1d",
            "period1": str(int(begin.timestamp())),
            "period2": str(int(run.slot.timestamp())),
        },
        facts={"reports": json.dumps(lines, default=str)},
        page=1,
    )


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """
    Check the lines of the calendar; then read the prices, which complete the lines to rows.

    {"earningsCalendar": {"result": [{"Earnings Date": "October 30, 2025 at 4 PM EDT",
     "EPS Estimate": "1.77", "Reported EPS": "1.85", "Surprise (%)": "+4.54"}]}}
    {"chart": {"result": [{"timestamp": [1577975400],
     "indicators": {"quote": [{"open": [74.06], "close": [75.09]}]}}]}}
    """
    if request.page == 0:
        lines = body["earningsCalendar"]["result"]
        check_item(at(lines, 0, "Symbol"), request.item)
        yield from each(lines, _check)
        return
    chart = body["chart"]["result"][0]
    check_item(at(chart, "meta", "symbol"), request.item)
    sessions = _sessions(chart)
    for line in json.loads(request.facts["reports"]):
        row = _reaction(request.item, _report(line), sessions)
        if row is not None:
            yield row


def _check(line: Json) -> None:
    """Check that a line can be read; it becomes a row when its prices arrive."""
    _report(line)


def _is_past(line: Json, run: Run) -> bool:
    try:
        return run.slot - SINCE <= _report(line).at <= run.slot
    except UNREADABLE:
        return False  # `parse` sets it aside


def _report(line: Json) -> Report:
    return Report(
        at=_moment(required(line["Earnings Date"])),
        estimate=grouped_decimal(line.get("EPS Estimate")),
        actual=grouped_decimal(line.get("Reported EPS")),
        surprise=grouped_decimal(line.get("Surprise (%)")),
    )


def _moment(written: str) -> datetime:
    """
    Return the moment of "October 30, 2025 at 4 PM EDT".

    Raises:
        BadValue: If it has another form.
    """
    match = WRITTEN.fullmatch(written)
    if match is None or match[5] not in ZONES:
        raise BadValue(f"{written!r} is no moment")
    local = datetime.strptime(  # noqa: DTZ007 - the zone is a name
        f"{match[1]} {match[2]}:{match[3] or '00'} {match[4]}", "%B %d, %Y %I:%M %p"
    )
    return local.replace(tzinfo=ZONES[match[5]]).astimezone(UTC)


def _sessions(chart: Mapping[str, Json] | None) -> list[Session]:
    """Return the days with a price, the oldest first."""
    stamps = elements(at(chart, "timestamp"))
    opens = elements(at(chart, "indicators", "quote", 0, "open"))
    closes = elements(at(chart, "indicators", "quote", 0, "close"))
    sessions = {}
    for stamp, first, last in zip(stamps, opens, closes, strict=True):
        moment, first_price, last_price = from_unix(stamp), decimal(first), decimal(last)
        if moment and first_price and last_price:
            day = moment.astimezone(MARKET).date()
            sessions[day] = Session(day, first_price, last_price)
    return [sessions[day] for day in sorted(sessions)]


def _reaction(symbol: str, report: Report, sessions: Sequence[Session]) -> Reaction | None:
    """Return the reaction of the first session after the report; None before that session."""
    local = report.at.astimezone(MARKET)
    days = [session.day for session in sessions]
    after_close = local.time() >= CLOSE
    # A report before the close moves the price of the same day, a report after it that of the next
    # session. Both searches find the next session if the day itself has none.
    index = (bisect_right if after_close else bisect_left)(days, local.date())
    if not 0 < index < len(sessions):
        return None
    before, session = sessions[index - 1].close, sessions[index]
    return Reaction(
        symbol=symbol,
        report_date=local.date(),
        eps_estimate=report.estimate,
        eps_actual=report.actual,
        surprise_pct=report.surprise,
        price_before_close=before,
        price_open=session.open,
        price_close=session.close,
        gap_pct=_percent(session.open, before),
        move_pct=_percent(session.close, before),
        reported_at=report.at,
        reaction_date=session.day,
    )


def _percent(price: Decimal, before: Decimal) -> Decimal:
    return round((price - before) / before * 100, 6)


SPEC = JobSpec(
    name="earnings_history",
    title="Earnings reports of the S&P 500's members, and the prices' reaction",
    sources=(Source(YAHOO, plan, parse, follow=follow, empty=Empty.SOMETIMES, least=MOSTLY_WHOLE),),
    tables=(
        Table(
            "earnings_history",
            Reaction,
            key=("symbol", "report_date"),
            touched="updated_at",
            ranges=(Range("move_pct", -60, 100),),
        ),
    ),
    schedule=Cron("20 3 * * 0", NEW_YORK),
    inputs=MEMBERS,
    pages=2.0,
    typical_items=503,
    depends=("sp500_companies",),
)

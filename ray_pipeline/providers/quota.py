"""
Quotas: how often a provider may be called, and what a year of calls adds up to.

A quota is a set of windows, and a call must fit every one of them. A window slides (`per`), or it
begins anew at an hour of the provider's day or on the first of its month (`reset`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

Reset = Literal["sliding", "day", "month"]


@dataclass(frozen=True, slots=True)
class Window:
    """
    At most `limit` calls of one key in one period.

    Attributes:
        limit: Calls.
        period: Length of a sliding window; of a calendar window only what it is called.
        reset: Whether it slides, or begins anew each day or month.
        zone: Where that day or month begins, an IANA name.
        at: The hour at which it begins there.
    """

    limit: int
    period: timedelta = DAY
    reset: Reset = "sliding"
    zone: str = "UTC"
    at: time = time(0)

    @property
    def name(self) -> str:
        """A short name that tells windows of one provider apart: '25/day', '5/60.8s'."""
        unit = self.reset if self.reset != "sliding" else _short(self.period.total_seconds())
        return f"{self.limit}/{unit}"

    def start(self, now: datetime) -> datetime:
        """Return when the window that holds `now` began, in UTC."""
        if self.reset == "sliding":
            return now - self.period
        local = now.astimezone(ZoneInfo(self.zone))
        begin = datetime.combine(local.date(), self.at, ZoneInfo(self.zone))
        if self.reset == "month":
            begin = begin.replace(day=1)
        if begin > local:
            begin = _step_back(begin, self.reset)
        return begin.astimezone(UTC)

    def end(self, now: datetime) -> datetime:
        """Return when the window that holds `now` begins anew, in UTC."""
        if self.reset == "sliding":
            return now + self.period
        local = self.start(now).astimezone(ZoneInfo(self.zone))
        day = local.date()
        day = day + timedelta(days=1) if self.reset == "day" else _next_month(day)
        return datetime.combine(day, self.at, ZoneInfo(self.zone)).astimezone(UTC)

    def scaled(self, speed: float) -> "Window":
        """
        Return the window for a world that runs `speed` times as fast, as a demo's does.

        A day or a month that begins at an hour of the calendar then slides.
        """
        if speed == 1:
            return self
        lengths = {"sliding": self.period, "day": DAY, "month": 30 * DAY}
        return Window(self.limit, lengths[self.reset] / speed)


def sliding(limit: int, period: timedelta) -> Window:
    """
    Return a sliding window with a margin.

    The ledger counts a call when it grants the permit, the provider when the call arrives. A slow
    call followed by a fast one arrive closer together than they were granted.
    """
    return Window(limit, period * 1.01 + timedelta(seconds=0.2))


def _short(period_s: float) -> str:
    """Write a length with three digits, in the largest unit of which it has one or two."""
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if period_s >= 1.5 * length_s or (unit == "s" and period_s >= 1):
            return f"{period_s / length_s:.3g}{unit}"
    return f"{period_s * 1000:.3g}ms"


def _step_back(begin: datetime, reset: Reset) -> datetime:
    day = begin.date() - timedelta(days=1)
    if reset == "month":
        day = day.replace(day=1)
    return datetime.combine(day, begin.timetz().replace(tzinfo=None), begin.tzinfo)


def _next_month(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


@dataclass(frozen=True, slots=True)
class Quota:
    """
    What one key of a provider may do.

    Attributes:
        windows: Every one of them must have room.
        reserve: The part of each day's and month's window that sweeps leave for short jobs.
    """

    windows: tuple[Window, ...] = ()
    reserve: float = 0.0

    def scaled(self, speed: float) -> "Quota":
        """Return the quota for a world that runs `speed` times as fast."""
        return Quota(tuple(window.scaled(speed) for window in self.windows), self.reserve)

    def longest(self) -> Window | None:
        """Return the window that holds the longest time, None without any."""
        return max(self.windows, key=_length, default=None)


def _length(window: Window) -> timedelta:
    return {"sliding": window.period, "day": DAY, "month": 31 * DAY}[window.reset]


@dataclass(frozen=True, slots=True)
class Overrun:
    """A window that a timetable would break."""

    window: Window
    start: datetime
    calls: int
    capacity: int


def overruns(
    window: Window, calls: Sequence[tuple[datetime, int]], *, keys: int
) -> Iterator[Overrun]:
    """
    Yield each window that holds more calls than `keys` keys allow.

    Args:
        window: A day's or month's window, or a sliding one of a day or longer, which is counted
            by UTC days. Shorter ones only postpone calls.
        calls: When, and how many, in order.
        keys: How many keys share the calls.
    """
    counted: dict[datetime, int] = {}
    for moment, count in calls:
        start = window.start(moment) if window.reset != "sliding" else _bucket(window, moment)
        counted[start] = counted.get(start, 0) + count
    for start, count in counted.items():
        if count > window.limit * keys:
            yield Overrun(window, start, count, window.limit * keys)


def _bucket(window: Window, moment: datetime) -> datetime:
    period_s = window.period.total_seconds()
    return datetime.fromtimestamp(moment.timestamp() // period_s * period_s, UTC)

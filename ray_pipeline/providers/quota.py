"""
Quotas: how often a provider may be called, and how a year of calls compares with that.

A quota is a set of windows, and a call must fit into every window. A sliding window holds the calls
of the last period. A calendar window restarts at an hour of the provider's day, or on the first day
of its month.
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
# The margin of sliding windows.
MARGIN = 1.01
DELAY = timedelta(seconds=0.2)

Reset = Literal["sliding", "day", "month"]


@dataclass(frozen=True, slots=True)
class Window:
    """
    At most `limit` calls of one key in one period.

    Attributes:
        limit: The largest number of calls.
        period: The length of a sliding window; ignored for a calendar window.
        reset: Whether the window slides, or restarts each day or month.
        zone: The time zone of a calendar window, an IANA name.
        at: The local time at which a calendar window restarts.
    """

    limit: int
    period: timedelta = DAY
    reset: Reset = "sliding"
    zone: str = "UTC"
    at: time = time(0)

    @property
    def name(self) -> str:
        """A short name, unique among the windows of a provider: '25/day', '5/60.8s'."""
        unit = self.reset if self.reset != "sliding" else _short(self.period.total_seconds())
        return f"{self.limit}/{unit}"

    def start(self, now: datetime) -> datetime:
        """Return the start of the window that contains `now`, in UTC."""
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
        """Return when the window that holds `now` ends, in UTC."""
        if self.reset == "sliding":
            return now + self.period
        local = self.start(now).astimezone(ZoneInfo(self.zone))
        day = local.date()
        day = day + timedelta(days=1) if self.reset == "day" else _next_month(day)
        return datetime.combine(day, self.at, ZoneInfo(self.zone)).astimezone(UTC)

    def scaled(self, speed: float) -> "Window":
        """
        Return the window of a demo that runs `speed` times as fast.

        A calendar window becomes a sliding one: a demo has no calendar of its own.
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
    return Window(limit, period * MARGIN + DELAY)


def without_margin(period: timedelta) -> timedelta:
    """Return the period of which `sliding` made this one."""
    return (period - DELAY) / MARGIN


def _short(period_s: float) -> str:
    """Return a length with three digits, in the largest unit of which it has at least 1.5."""
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
    The quota of one key of a provider.

    Attributes:
        windows: The windows; each must have room for a call.
        reserve: The fraction of each daily and monthly window that sweeps leave to short jobs.
            A sweep has more items than a day's calls and would use up every window it may fill;
            without the reserve, the short jobs that are due later that day could not run.
    """

    windows: tuple[Window, ...] = ()
    reserve: float = 0.0

    def scaled(self, speed: float) -> "Quota":
        """Return the quota of a demo that runs `speed` times as fast."""
        return Quota(tuple(window.scaled(speed) for window in self.windows), self.reserve)

    def longest(self) -> Window | None:
        """Return the longest window, None for a quota without windows."""
        return max(self.windows, key=_length, default=None)


def _length(window: Window) -> timedelta:
    return {"sliding": window.period, "day": DAY, "month": 31 * DAY}[window.reset]


@dataclass(frozen=True, slots=True)
class Overrun:
    """A window that a timetable exceeds."""

    window: Window
    start: datetime
    calls: int
    capacity: int


def overruns(
    window: Window, calls: Sequence[tuple[datetime, int]], *, keys: int
) -> Iterator[Overrun]:
    """
    Yield each window that contains more calls than `keys` keys allow.

    Args:
        window: A window of half a day or longer. Shorter windows only postpone calls. A sliding
            window is counted in fixed periods from the epoch on.
        calls: Times and numbers of calls, in order.
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

"""
When collected data counts as fresh, decided from facts.

Every answer about freshness (`why`, `/why`, `/ready`, `/v1/freshness`, the checks of a run) calls
this module, so that two of them never disagree. Each kind of data has its own limit:

- a feed: an age in seconds, because an open market is never silent for a minute;
- a job: the newest slot that was due, with a grace period for the run itself;
- a table that several runs fill in turn: the age that its specification declares;
- the events in a table: a multiple of the longest pause between earlier events.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

FEED_AGE_LIMIT_S = 60.0
FEED_LAG_LIMIT = 10_000  # records
SLOT_GRACE = timedelta(minutes=15)  # a slot may be this late before it counts as missed
MIN_EVENTS = 3  # two pauses; fewer do not show what is usual
PAUSE_FACTOR = 3

FeedState = Literal["empty", "behind", "quiet", "fresh"]


def feed_state(*, newest_age_s: float | None, lag: int) -> FeedState:
    """
    Judge a feed by the age of its newest stored record and by the records that wait in Kafka.

    A backlog is reported before silence: while consumers catch up, the newest stored record is
    old although the provider delivers.
    """
    if newest_age_s is None:
        return "empty"
    if lag > FEED_LAG_LIMIT:
        return "behind"
    return "quiet" if newest_age_s > FEED_AGE_LIMIT_S else "fresh"


def newest_age(ages_s: Iterable[float | None]) -> float | None:
    """Return the lowest of the feeds' ages in seconds, None if no feed has stored a record."""
    return min((age_s for age_s in ages_s if age_s is not None), default=None)


def lack_of_progress(newest_age_s: float | None, *, limit_s: float) -> str:
    """Return why data does not progress; empty while any feed stored a record within the limit."""
    if newest_age_s is None:
        return "no feed has ever stored a record"
    if newest_age_s > limit_s:
        return f"no feed stored a record for {age(newest_age_s)}; the limit is {age(limit_s)}"
    return ""


def missed_slot(
    due: datetime | None, *, last_slot: datetime, ended: bool, now: datetime
) -> datetime | None:
    """
    Return the due slot if no run has taken it within the grace period, else None.

    While a run of an earlier slot continues, no slot is missed: runs of a job do not overlap, and
    the scheduler starts the next slot afterwards.
    """
    if due is None or last_slot >= due or not ended:
        return None
    return due if now - due > SLOT_GRACE else None


def table_is_fresh(*, job_is_fresh: bool, age_s: float | None, limit: timedelta | None) -> bool:
    """
    Judge one table of a job.

    A table without a limit is as fresh as its job. A job that collects a part of its items in each
    run declares a limit, because one successful run says little about the whole table.
    """
    if limit is None or age_s is None:
        return job_is_fresh
    return age_s <= limit.total_seconds()


def longest_pause(events: Sequence[datetime]) -> timedelta | None:
    """Return the longest pause between events, newest first; None if there are too few."""
    if len(events) < MIN_EVENTS:
        return None
    return max(newer - older for newer, older in pairwise(events))


def event_age_limit(pause: timedelta, *, period: timedelta) -> timedelta:
    """
    Return how old a table's newest event may be.

    Args:
        pause: The longest pause between its earlier events.
        period: The time between two slots of the job, which events cannot undercut.
    """
    return PAUSE_FACTOR * max(pause, period)


def age(seconds: float | None) -> str:
    """Return an age in the unit that fits: `0.4 s`, `12 s`, `3 min`, `5 h`, `2 d`."""
    if seconds is None:
        return "never"
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s"
    for limit_s, unit_s, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"

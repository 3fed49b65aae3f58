"""
Add up a year of calls against every quota.

A timetable that cannot fit is refused before it fails: with the sum that breaks it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil

from ray_pipeline.jobs.spec import JobSpec, Record, Run, Source
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import DAY, Overrun, Window, overruns

YEAR = timedelta(days=366)
# The keys of the system that this one replaces.
USUAL_KEYS: Mapping[str, int] = {
    "alpha_vantage": 4,
    "finnhub": 1,
    "newsapi": 1,
    "coingecko": 4,
    "x": 4,
    "truth_social": 1,
}


@dataclass(frozen=True, slots=True)
class JobPlan:
    """
    A year of one job.

    Attributes:
        calls: When it runs, and how many calls that takes.
        complete_at: For a sweep: when every item has been collected once; None if never.
        why_not: Why it is not collected at all; empty where it is.
    """

    job: str
    provider: Provider | None
    calls: tuple[tuple[datetime, int], ...]
    items: int
    complete_at: datetime | None = None
    why_not: str = ""

    @property
    def total(self) -> int:
        """Calls of the year."""
        return sum(count for _, count in self.calls)


@dataclass(frozen=True, slots=True)
class Breach:
    """A window that the timetable breaks, and the jobs that do it."""

    provider: str
    overrun: Overrun
    keys: int
    parts: tuple[tuple[str, int], ...]

    def sentence(self) -> str:
        """Return the sum that does not fit."""
        window = self.overrun.window
        addition = " + ".join(f"{job} {count:,}" for job, count in self.parts)
        return (
            f"{self.provider}: from {self.overrun.start:%Y-%m-%d} on, {addition} = "
            f"{self.overrun.calls:,} calls, but {self.keys} keys x {window.name} = "
            f"{self.overrun.capacity:,}"
        )


Inputs = Mapping[str, Mapping[str, tuple[Record, ...]]]


def plan_year(
    specs: Iterable[JobSpec],
    *,
    keys: Mapping[str, int],
    start: datetime,
    inputs: Inputs | None = None,
) -> list[JobPlan]:
    """
    Return a year of every scheduled job.

    Args:
        specs: The jobs.
        keys: How many keys each provider has.
        start: When the year begins.
        inputs: What the jobs' queries find, by job; without them the usual number of items counts.
    """
    return list(_plans(specs, keys, start, inputs or {}))


def _plans(
    specs: Iterable[JobSpec], keys: Mapping[str, int], start: datetime, inputs: Inputs
) -> Iterator[JobPlan]:
    for spec in specs:
        if spec.manual or spec.derive is not None:
            continue
        able = [
            one for one in spec.sources if not one.provider.needs_key or keys.get(one.provider.name)
        ]
        if not able:
            names = " or ".join(source.provider.title for source in spec.sources)
            yield JobPlan(spec.name, None, (), 0, why_not=f"no key for {names}")
        for source in able if spec.complete else able[:1]:
            yield _plan(spec, source, start, inputs.get(spec.name, {}))


def _plan(
    spec: JobSpec, source: Source, start: datetime, found: Mapping[str, tuple[Record, ...]]
) -> JobPlan:
    slots = list(spec.schedule.between(start, start + YEAR))

    def items(slot: datetime) -> int:
        run = Run(spec.name, slot, slot, inputs=found)
        count = sum(1 for _ in source.plan(run)) if _complete(spec, found) else 0
        return count or spec.typical_items

    if spec.sweep:
        return _sweep(spec, source, slots, items)
    calls = tuple((slot, ceil(items(slot) * spec.pages)) for slot in slots)
    return JobPlan(spec.name, source.provider, calls, items(start))


def _complete(spec: JobSpec, found: Mapping[str, tuple[Record, ...]]) -> bool:
    return all(found.get(name) for name in spec.inputs)


def _sweep(
    spec: JobSpec, source: Source, slots: Sequence[datetime], items: Callable[[datetime], int]
) -> JobPlan:
    """Play the year: each run takes the items that were never collected, then the oldest."""
    assert spec.refresh is not None
    count = items(slots[0]) if slots else 0
    done_at: list[datetime | None] = [None] * count
    calls: list[tuple[datetime, int]] = []
    complete_at: datetime | None = None
    oldest = 0  # the items are asked in a ring, so that one place says which is next
    for slot in slots:
        taken = 0
        while taken < min(spec.batch or count, count):
            last = done_at[oldest]
            if last is not None and last > slot - spec.refresh:
                break
            done_at[oldest] = slot
            oldest = (oldest + 1) % count
            taken += 1
        if complete_at is None and count and all(done_at):
            complete_at = slot
        if taken:
            calls.append((slot, ceil(taken * spec.pages)))
    return JobPlan(spec.name, source.provider, tuple(calls), count, complete_at)


def breaches(plans: Sequence[JobPlan], *, keys: Mapping[str, int]) -> list[Breach]:
    """Return the first window of each kind that the timetable breaks, with its sum."""
    found: list[Breach] = []
    providers = {plan.provider.name: plan.provider for plan in plans if plan.provider}
    for name, provider in sorted(providers.items()):
        mine = [plan for plan in plans if plan.provider is provider]
        together = sorted(call for plan in mine for call in plan.calls)
        count = max(1, keys.get(name, 0))
        for window in provider.quota.windows:
            if not _long(window):
                continue
            first = next(overruns(window, together, keys=count), None)
            if first is not None:
                parts = tuple(
                    (plan.job, calls) for plan in mine if (calls := _within(plan, first)) > 0
                )
                found.append(Breach(provider.title, first, count, parts))
    return found


def _long(window: Window) -> bool:
    return window.reset != "sliding" or window.period >= DAY / 2


def _within(plan: JobPlan, overrun: Overrun) -> int:
    end = overrun.window.end(overrun.start)
    return sum(count for moment, count in plan.calls if overrun.start <= moment < end)


def usual_keys(configured: Mapping[str, int]) -> dict[str, int]:
    """Return the keys to plan with: those that are set, or where none is, the usual ones."""
    return dict(configured) if any(configured.values()) else dict(USUAL_KEYS)


def now() -> datetime:
    """Return the start of this hour, UTC: a plan does not change within it."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)

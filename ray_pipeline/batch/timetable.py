"""
Add up the calls of a year and compare them with every quota.

A timetable that exceeds a quota is rejected before it fails, with the sum that exceeds it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil

from ray_pipeline.jobs.spec import JobSpec, Record, Run, Source
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import DAY, Overrun, Window, overruns

YEAR = timedelta(days=366)
# The numbers of keys for which the shipped timetable is made.
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
        calls: The slots, each with its number of calls.
        complete_at: For a sweep: when every item has been collected once; None if never.
        why_not: Why the job cannot collect; empty if it can.
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
    """A quota window that the timetable exceeds, and the jobs that share it."""

    provider: str
    overrun: Overrun
    keys: int
    parts: tuple[tuple[str, int], ...]

    def sentence(self) -> str:
        """Return the sum that exceeds the window."""
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
        start: The begin of the year.
        inputs: The rows of the jobs' input queries, by job. The usual number of items replaces
            missing inputs.
    """
    return list(_plans(specs, keys, start, inputs or {}))


def _plans(
    specs: Iterable[JobSpec], keys: Mapping[str, int], start: datetime, inputs: Inputs
) -> Iterator[JobPlan]:
    for spec in specs:
        if spec.manual or spec.derive is not None:
            continue
        sources = spec.usable_sources(keys)
        if not sources:
            names = " or ".join(source.provider.title for source in spec.sources)
            yield JobPlan(spec.name, None, (), 0, why_not=f"no key for {names}")
        for source in sources if spec.complete else sources[:1]:
            yield _plan(spec, source, start, inputs.get(spec.name, {}))


def _plan(
    spec: JobSpec, source: Source, start: datetime, inputs: Mapping[str, tuple[Record, ...]]
) -> JobPlan:
    slots = list(spec.schedule.between(start, start + YEAR))

    def items(slot: datetime) -> int:
        run = Run(spec.name, slot, slot, inputs=inputs)
        count = sum(1 for _ in source.plan(run)) if _complete(spec, inputs) else 0
        return count or spec.typical_items

    if spec.sweep:
        return _sweep(spec, source, slots, items)
    calls = tuple((slot, ceil(items(slot) * spec.pages)) for slot in slots)
    return JobPlan(spec.name, source.provider, calls, items(start))


def _complete(spec: JobSpec, inputs: Mapping[str, tuple[Record, ...]]) -> bool:
    return all(inputs.get(name) for name in spec.inputs)


def _sweep(
    spec: JobSpec, source: Source, slots: Sequence[datetime], items: Callable[[datetime], int]
) -> JobPlan:
    """Simulate a year of a sweep: each run takes new items first, then the oldest."""
    assert spec.refresh is not None
    # A year of a job with 500 items has 100,000 item visits, so the simulation keeps no queue: the
    # item after the one taken last is always the one collected longest ago.
    count = items(slots[0]) if slots else 0
    done_at: list[datetime | None] = [None] * count
    calls: list[tuple[datetime, int]] = []
    complete_at: datetime | None = None
    oldest = 0  # items are taken in a ring, so one index tells which item is next
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
    """Return the first window of each quota that the timetable exceeds."""
    exceeded: list[Breach] = []
    providers = {plan.provider.name: plan.provider for plan in plans if plan.provider}
    for name, provider in sorted(providers.items()):
        provider_plans = [plan for plan in plans if plan.provider is provider]
        together = sorted(call for plan in provider_plans for call in plan.calls)
        count = max(1, keys.get(name, 0))
        for window in provider.quota.windows:
            if not _long(window):
                continue
            first = next(overruns(window, together, keys=count), None)
            if first is not None:
                parts = tuple(
                    (plan.job, calls)
                    for plan in provider_plans
                    if (calls := _within(plan, first)) > 0
                )
                exceeded.append(Breach(provider.title, first, count, parts))
    return exceeded


def _long(window: Window) -> bool:
    return window.reset != "sliding" or window.period >= DAY / 2


def _within(plan: JobPlan, overrun: Overrun) -> int:
    end = overrun.window.end(overrun.start)
    return sum(count for moment, count in plan.calls if overrun.start <= moment < end)


def usual_keys(configured: Mapping[str, int]) -> dict[str, int]:
    """Return how many keys to plan with: the configured ones, or the usual ones without any."""
    return dict(configured) if any(configured.values()) else dict(USUAL_KEYS)


def now() -> datetime:
    """Return the start of this hour, UTC, so that a plan is the same for an hour."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)

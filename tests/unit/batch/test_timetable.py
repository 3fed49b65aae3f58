"""A year of calls: what is shipped fits, and what cannot fit is refused with its sum."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.batch.timetable import USUAL_KEYS, breaches, plan_year, usual_keys
from ray_pipeline.catalog import all_jobs
from ray_pipeline.jobs.spec import VARIES, Empty, JobSpec, Request, Run, Source
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import DAY, MINUTE, Quota, Window
from ray_pipeline.schedules.cron import Cron

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
SPRING = datetime(2027, 3, 14, tzinfo=UTC)  # New York's clock is put forward


def provider(*windows: Window, name: str = "test", needs_key: bool = True) -> Provider:
    return Provider(name, name.title(), "http://x", Quota(windows), needs_key=needs_key)


def plan_inputs(run: Run) -> Iterator[Request]:
    for symbol in run.values("symbols", "symbol"):
        yield Request(symbol, "/")


def source_of(one: Provider) -> Source:
    return Source(one, plan_inputs, lambda *_: (), empty=Empty.NORMAL, least=VARIES)


def spec(name: str, one: Provider, cron: str, **options) -> JobSpec:
    source = source_of(one)
    options = {"inputs": {"symbols": "SELECT symbol"}} | options
    return JobSpec(name, name, (), Cron(cron), sources=(source,), **options)


def test_what_is_shipped_fits_with_the_usual_keys():
    """Every scheduled job is in the sum, and no quota breaks on any day of a year."""
    plans = plan_year(all_jobs(), keys=USUAL_KEYS, start=START)

    assert breaches(plans, keys=USUAL_KEYS) == []
    assert [plan.job for plan in plans if plan.why_not] == []
    planned = {plan.job for plan in plans}
    calling = {one.name for one in all_jobs() if one.sources and not one.manual}
    assert planned == calling


def test_with_one_key_the_sum_that_breaks_is_named():
    """Alpha Vantage's 25 calls a day are not enough; the sentence adds up."""
    keys = {**USUAL_KEYS, "alpha_vantage": 1}

    found = breaches(plan_year(all_jobs(), keys=keys, start=START), keys=keys)

    assert [breach.provider for breach in found] == ["Alpha Vantage"]
    sentence = found[0].sentence()
    parts = [int(number) for number in re.findall(r"[a-z_0-9]+ (\d+)(?= [+=])", sentence)]
    total = re.search(r"= (\d+) calls, but 1 keys x 25/day = 25$", sentence)
    assert total is not None
    assert sum(parts) == int(total[1]) > 25
    assert "news_sentiment" in dict(found[0].parts)


def test_a_month_is_added_up_too():
    """No day is too full, the month is."""
    one = provider(Window(10, reset="day"), Window(100, reset="month"))
    jobs = [spec("a", one, "0 6 * * *", typical_items=3), spec("b", one, "0 7 * * *")]

    found = breaches(plan_year(jobs, keys={"test": 1}, start=START), keys={"test": 1})

    # Of November only eight days are left; December is the first month that is whole.
    assert [breach.sentence() for breach in found] == [
        "Test: from 2026-12-01 on, a 93 + b 31 = 124 calls, but 1 keys x 100/month = 100"
    ]


@pytest.mark.parametrize(("keys", "fits"), [(1, False), (2, True)])
def test_another_key_makes_it_fit(keys, fits):
    """Keys of one provider share the calls."""
    one = provider(Window(10, reset="day"))
    plans = plan_year(
        [spec("a", one, "0 6 * * *", typical_items=15)], keys={"test": 1}, start=START
    )

    assert (breaches(plans, keys={"test": keys}) == []) is fits


def test_a_day_is_the_providers():
    """Two runs of one UTC day are not too many where they lie in two of New York's."""
    new_york = provider(Window(4, reset="day", zone="America/New_York"))
    utc = provider(Window(4, reset="day"))

    def broken(one: Provider) -> bool:
        jobs = [spec("a", one, "30 3 23 11 *", typical_items=4), spec("b", one, "30 12 23 11 *")]
        start = datetime(2026, 11, 22, tzinfo=UTC)
        return bool(breaches(plan_year(jobs, keys={"test": 1}, start=start), keys={"test": 1}))

    assert not broken(new_york)
    assert broken(utc)


def test_short_windows_only_postpone():
    """A thousand calls at five a minute take long; they break nothing."""
    one = provider(Window(5, MINUTE))
    plans = plan_year([spec("a", one, "0 6 * * *", typical_items=1000)], keys={}, start=START)

    assert breaches(plans, keys={"test": 1}) == []


@given(
    items=st.integers(1, 300),
    batch=st.integers(1, 50),
    pages=st.sampled_from([1.0, 1.5, 3.0]),
)
def test_a_sweep_says_on_which_day_it_is_through(items, batch, pages):
    """As many days as it has batches; no run asks for more than its batch."""
    sweep = spec(
        "a",
        provider(Window(1000, reset="day")),
        "0 6 * * *",
        typical_items=items,
        refresh=timedelta(days=400),
        batch=batch,
        pages=pages,
    )

    (plan,) = plan_year([sweep], keys={"test": 1}, start=START)

    days = ceil(items / batch)
    first = datetime(2026, 11, 24, 6, tzinfo=UTC)
    assert plan.complete_at == first + (days - 1) * DAY
    assert len(plan.calls) == days
    assert max(count for _, count in plan.calls) <= ceil(batch * pages)


def test_a_sweep_begins_again_when_its_items_are_old():
    """Three items a day, refreshed every ten days: the year holds no more runs than that."""
    sweep = spec("a", provider(), "0 6 * * *", typical_items=6, refresh=timedelta(days=10), batch=3)

    (plan,) = plan_year([sweep], keys={"test": 1}, start=START)

    assert [moment.day for moment, _ in plan.calls[:4]] == [24, 25, 4, 5]


def test_items_of_the_database_are_counted_where_there_are_some():
    """Else the usual number counts."""
    one = provider()
    job = spec("a", one, "0 6 * * *", typical_items=500)
    symbols = tuple({"symbol": str(number)} for number in range(7))

    (empty,) = plan_year([job], keys={"test": 1}, start=START)
    (known,) = plan_year([job], keys={"test": 1}, start=START, inputs={"a": {"symbols": symbols}})

    assert empty.items == 500
    assert known.items == 7
    assert known.total == 7 * 366


def test_a_job_without_a_key_is_named_and_costs_nothing():
    """The other source is planned where it needs no key."""
    keyless = provider(name="page", needs_key=False)
    job = spec("a", provider(), "0 6 * * *")
    both = JobSpec(
        "b",
        "b",
        (),
        Cron("0 6 * * *"),
        sources=(*job.sources, source_of(keyless)),
    )

    missing, other = plan_year([job, both], keys={}, start=START)

    assert (missing.why_not, missing.total) == ("no key for Test", 0)
    assert other.provider is keyless
    assert other.total == 366


def test_a_clock_change_costs_no_run():
    """A year of a daily job has a run each day, also on the day that lacks an hour."""
    daily = JobSpec(
        "a", "a", (), Cron("30 2 * * *", "America/New_York"),
        sources=(source_of(provider()),),
    )  # fmt: skip

    (plan,) = plan_year([daily], keys={"test": 1}, start=START)

    assert sum(SPRING <= moment < SPRING + DAY for moment, _ in plan.calls) == 1
    assert plan.total == 366


def test_keys_that_are_set_are_planned_with():
    """With none set, the usual ones."""
    assert usual_keys({"fred": 1, "x": 0}) == {"fred": 1, "x": 0}
    assert usual_keys({"fred": 0}) == dict(USUAL_KEYS)

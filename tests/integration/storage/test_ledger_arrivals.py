"""The provider never receives more calls than its quota, whatever the latencies and the clocks."""

import asyncio
import contextlib
import heapq
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from ray_pipeline.batch.permits import VALID_S, NotBefore, Permit
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import MINUTE, SECOND, Quota, Window
from ray_pipeline.storage.postgres import ledger as ledger_module
from ray_pipeline.storage.postgres.clock_jumps import ClockJump, accept_clock, read_clock_jumps
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.ledger import ARRIVAL_S, CLOCK_S, Ledger, window_as_json
from ray_pipeline.transport.http import TIMEOUT_S

NEW_YORK = "America/New_York"
SHORT, LONG = Window(2, SECOND), Window(4, 2 * MINUTE)
DAY = Window(7, reset="day", zone=NEW_YORK)
PROVIDER = Provider("alpha_vantage", "Test", "http://x", Quota((SHORT, LONG, DAY)))
MIDNIGHT = datetime(2026, 11, 2, 5, tzinfo=UTC)  # in New York
START = MIDNIGHT - timedelta(seconds=400)
DELAY_S = st.one_of(st.just(0.0), st.floats(0, 2), st.floats(0, TIMEOUT_S))


@dataclass(frozen=True, slots=True)
class Step:
    """
    One request for permits, and the fate of its calls.

    Attributes:
        gap_s: Time since the request before.
        wanted: How many calls.
        start_s: From the grant to the start of each call; never longer than a permit is valid.
        latency_s: From the start to the arrival at the provider.
        answer_s: From the arrival to the answer; None if no answer is reported.
    """

    gap_s: float
    wanted: int
    start_s: float
    latency_s: float
    answer_s: float | None


STEPS = st.lists(
    st.builds(
        Step,
        gap_s=st.sampled_from([0.0, 0.1, 1.0, 1.5, 20.0, 60.0, 119.0, 121.0]),
        wanted=st.integers(1, 5),
        start_s=st.one_of(st.just(0.0), st.floats(0, VALID_S)),
        latency_s=DELAY_S,
        answer_s=st.one_of(st.none(), st.floats(0, 1)),
    ),
    min_size=5,
    max_size=40,
)


@dataclass
class Play:
    """Limiters in turn on one ledger, and the provider's own record of what arrived."""

    ledgers: list[Ledger]
    now: datetime = START
    arrivals: list[datetime] = field(default_factory=list)
    answers: list[tuple[datetime, int]] = field(default_factory=list)

    async def step(self, number: int, step: Step) -> None:
        """Make the request of one step, after the answers that come before it."""
        self.now += timedelta(seconds=step.gap_s)
        ledger = self.ledgers[number % len(self.ledgers)]
        while self.answers and self.answers[0][0] <= self.now:
            at, call = heapq.heappop(self.answers)
            await ledger.finished([call], moment=at)
        permit = await ledger.acquire(
            "alpha_vantage", calls=step.wanted, job="j", sweep=False, moment=self.now
        )
        if isinstance(permit, NotBefore):
            return
        for index, call in enumerate(permit.ids):
            # The first call of a permit is the slow one: the others overtake it.
            share = 1.0 if index == 0 else 0.1
            arrival = self.now + timedelta(seconds=share * (step.start_s + step.latency_s))
            self.arrivals.append(arrival)
            if step.answer_s is not None:
                answered = arrival + timedelta(seconds=step.answer_s)
                heapq.heappush(self.answers, (answered, call))


@pytest.fixture
def provider(monkeypatch):
    """One small provider in place of the shipped ones."""
    monkeypatch.setattr(ledger_module, "all_providers", lambda: (PROVIDER,))


def assert_sliding(arrivals: list[datetime], window: Window) -> None:
    for first, one_too_many in zip(arrivals, arrivals[window.limit :], strict=False):
        assert one_too_many - first >= window.period


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS, offset_s=st.floats(-CLOCK_S, CLOCK_S))
def test_no_window_of_the_provider_receives_more_than_its_limit(
    provider, postgres_dsn, steps, offset_s
):
    """Three limiters, slow calls that fast ones overtake, lost answers, clocks that disagree."""

    async def play() -> list[datetime]:
        async with (
            session(postgres_dsn, name="a") as one,
            session(postgres_dsn, name="b") as two,
            session(postgres_dsn, name="c") as three,
        ):
            for name in ("quota_grants", "quota_counters", "quota_keys"):
                await one.execute(f"TRUNCATE {name}".encode())
            played = Play([Ledger(each, {"alpha_vantage": ["k"]}) for each in (one, two, three)])
            for number, step in enumerate(steps):
                await played.step(number, step)
            return sorted(played.arrivals)

    arrivals = asyncio.run(play())

    assert_sliding(arrivals, SHORT)
    assert_sliding(arrivals, LONG)
    by_its_clock = [arrival + timedelta(seconds=offset_s) for arrival in arrivals]
    for start in {DAY.start(moment) for moment in by_its_clock}:
        assert sum(DAY.start(moment) == start for moment in by_its_clock) <= DAY.limit


async def test_a_call_shortly_before_a_reset_counts_on_both_days(provider, postgres_dsn):
    """It may arrive after the reset, where the provider counts it on the new day."""
    async with session(postgres_dsn, name="test") as connection:
        ledger = Ledger(connection, {"alpha_vantage": ["k"]})

        async def permitted(moment: datetime) -> int:
            granted = 0
            while isinstance(permit := await _acquire(ledger, moment), Permit):
                await ledger.finished(permit.ids, moment=moment)
                granted += permit.calls
                moment += 2 * MINUTE / LONG.limit
            return granted

        before = await permitted(MIDNIGHT - timedelta(seconds=0.1))
        new_day = await _acquire(ledger, MIDNIGHT + timedelta(seconds=CLOCK_S + 1_000))

    assert before == DAY.limit
    assert isinstance(new_day, NotBefore)
    assert new_day.moment == MIDNIGHT + timedelta(days=1, seconds=CLOCK_S)


async def test_a_full_day_opens_after_the_reset_and_a_margin(provider, postgres_dsn):
    """The provider's clock may be behind."""
    async with session(postgres_dsn, name="test") as connection:
        ledger = Ledger(connection, {"alpha_vantage": ["k"]})
        moment = MIDNIGHT - timedelta(hours=5)
        for _ in range(DAY.limit):
            permit = await _acquire(ledger, moment)
            assert isinstance(permit, Permit)
            await ledger.finished(permit.ids, moment=moment)
            moment += MINUTE
        full = await _acquire(ledger, moment)
        opened = MIDNIGHT + timedelta(seconds=CLOCK_S)
        too_early = await _acquire(ledger, opened - timedelta(seconds=1))
        in_time = await _acquire(ledger, opened)

    assert isinstance(full, NotBefore)
    assert full.moment == opened
    assert full.wait_s == (opened - moment).total_seconds()
    assert isinstance(too_early, NotBefore)
    assert isinstance(in_time, Permit)


async def test_an_answer_frees_a_sliding_window_and_a_lost_one_delays_it(provider, postgres_dsn):
    """A window is full until the latest arrival of its calls has left it."""
    async with session(postgres_dsn, name="test") as connection:
        ledger = Ledger(connection, {"alpha_vantage": ["k"]})
        noon = MIDNIGHT + timedelta(hours=12)
        answered = await ledger.acquire("alpha_vantage", job="j", sweep=False, calls=2, moment=noon)
        assert isinstance(answered, Permit)
        await ledger.finished(answered.ids, moment=noon + SECOND)
        lost = await ledger.acquire(
            "alpha_vantage", job="j", sweep=False, calls=5, moment=noon + 2 * SECOND
        )
        assert isinstance(lost, Permit)
        assert lost.calls == 2
        later = noon + SECOND + 2 * MINUTE  # the answered calls have left, the lost ones have not
        partly = await ledger.acquire("alpha_vantage", job="j", sweep=False, calls=5, moment=later)
        assert isinstance(partly, Permit)
        await ledger.finished(partly.ids, moment=later)
        full = await _acquire(ledger, later + 2 * SECOND)

    assert partly.calls == 2
    assert isinstance(full, NotBefore)
    assert full.moment == noon + 2 * SECOND + timedelta(seconds=ARRIVAL_S) + 2 * MINUTE


async def test_a_clock_that_was_put_back_opens_nothing_and_is_named(provider, postgres_dsn):
    """Time stands still for the key until the clock has caught up."""
    async with session(postgres_dsn, name="test") as connection:
        ledger = Ledger(connection, {"alpha_vantage": ["k"]})
        noon = MIDNIGHT + timedelta(hours=12)
        for _ in range(2):
            await _acquire(ledger, noon)
        behind = await _acquire(ledger, noon - timedelta(days=2))

    assert isinstance(behind, NotBefore)
    assert behind.moment is not None
    assert behind.moment > noon
    assert "the clock of Postgres is behind" in behind.reason


async def test_an_earlier_release_gets_no_permit_and_defers_its_runs(postgres_dsn):
    """During an upgrade; it does not know when its calls arrive."""
    async with session(postgres_dsn, name="test") as connection:
        cursor = await connection.execute(
            "SELECT granted_key, granted, wait_until > now() + interval '5 minutes', blocked_by"
            " FROM grant_calls('fred', ARRAY['k'], '[]'::jsonb, 1, 'j', 0.0, NULL)"
        )
        assert await cursor.fetchone() == (None, 0, True, "a newer release counts the calls")


async def test_a_permit_can_be_requested_for_one_key(provider, postgres_dsn):
    """A redirect carries the key of the first call."""
    async with session(postgres_dsn, name="test") as connection:
        ledger = Ledger(connection, {"alpha_vantage": ["a", "b"]})
        permits = [
            await ledger.acquire("alpha_vantage", job="j", sweep=False, key="b") for _ in range(3)
        ]

    assert permits[:2] == [Permit("b"), Permit("b")]
    assert isinstance(permits[2], NotBefore)


async def test_the_clock_of_the_limiter_opens_no_window(provider, postgres_dsn, monkeypatch):
    """Only the database's clock counts."""

    class TomorrowClock(datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + timedelta(days=1)

    async with session(postgres_dsn, name="test") as connection:
        ledger = Ledger(connection, {"alpha_vantage": ["k"]})
        await connection.execute(
            "INSERT INTO quota_counters SELECT 'alpha_vantage', 'k', %s,"
            " quota_window_start(%s, now() + shift), %s"
            " FROM unnest(ARRAY[interval '0', interval '3 minutes']) AS shift"
            " ON CONFLICT DO NOTHING",
            (DAY.name, Jsonb(window_as_json(DAY)), DAY.limit),
        )
        monkeypatch.setattr(ledger_module, "datetime", TomorrowClock)
        answer = await ledger.acquire("alpha_vantage", job="j", sweep=False)

    assert isinstance(answer, NotBefore)
    assert answer.reason == DAY.name


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    moment=st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    reset=st.sampled_from(["day", "month"]),
    zone=st.sampled_from(["UTC", NEW_YORK, "Asia/Seoul"]),
    at=st.sampled_from([time(0), time(8), time(19, 30)]),
)
def test_the_database_and_the_timetable_agree_on_calendar_windows(
    postgres_dsn, moment, reset, zone, at
):
    """`plan` computes with Python's limits, the ledger with the database's."""
    window = Window(1, reset=reset, zone=zone, at=at)

    async def limits() -> tuple[datetime, datetime]:
        async with session(postgres_dsn, name="test") as connection:
            cursor = await connection.execute(
                "SELECT quota_window_start(%(window)s, %(at)s),"
                " quota_window_end(%(window)s, %(at)s)",
                {"window": Jsonb(window_as_json(window)), "at": moment},
            )
            row = await cursor.fetchone()
        assert row is not None
        return row

    start, end = asyncio.run(limits())

    assert (start, end) == (window.start(moment), window.end(moment))
    assert start <= moment < end


async def _acquire(ledger: Ledger, moment: datetime) -> Permit | NotBefore:
    return await ledger.acquire("alpha_vantage", job="j", sweep=False, moment=moment)


@dataclass
class Machine:
    """A limiter's machine, whose clock is never set, and a database with a clock that is."""

    ledger: Ledger
    real: datetime = MIDNIGHT - timedelta(hours=12)
    jump: timedelta = timedelta(0)
    arrivals: list[datetime] = field(default_factory=list)

    async def call(self, calls: int = 1) -> Permit | NotBefore:
        """Request permits, and make the calls at once."""
        answer = await self.ledger.acquire(
            "alpha_vantage",
            job="j",
            sweep=False,
            calls=calls,
            moment=self.real + self.jump,
            elapsed_s=(self.real - START).total_seconds(),
        )
        if isinstance(answer, Permit):
            await self.ledger.finished(answer.ids, moment=self.real)
            self.arrivals += [self.real] * answer.calls
        return answer


@contextlib.asynccontextmanager
async def new_machine(dsn: str) -> AsyncIterator[Machine]:
    async with session(dsn, name="test") as connection:
        for name in ("quota_grants", "quota_counters", "quota_keys", "quota_clocks"):
            await connection.execute(f"TRUNCATE {name}".encode())
        yield Machine(Ledger(connection, {"alpha_vantage": ["k"]}))


async def test_a_clock_that_jumps_forward_opens_no_sliding_window(provider, postgres_dsn):
    """The calls leave the window when the time has really elapsed."""
    async with new_machine(postgres_dsn) as machine:
        for _ in range(2):
            assert isinstance(await machine.call(2), Permit)
            machine.real += 2 * SECOND
        machine.jump = timedelta(hours=1)
        blocked = await machine.call()
        machine.real += 2 * MINUTE
        later = await machine.call()

    assert isinstance(blocked, NotBefore)
    assert "the clock of Postgres jumped forward by 3600 s" in blocked.reason
    assert blocked.wait_s == pytest.approx(116)
    assert isinstance(later, Permit)


async def test_a_clock_that_jumps_over_a_reset_opens_no_day_before_its_time(provider, postgres_dsn):
    """The provider may still be before the reset; after it, the calls count on both days."""
    async with new_machine(postgres_dsn) as machine:
        for _ in range(DAY.limit):
            assert isinstance(await machine.call(), Permit)
            machine.real += 2 * MINUTE
        machine.jump = timedelta(days=1)
        blocked = await machine.call()
        machine.real += timedelta(hours=13)
        later = await machine.call()

    assert isinstance(blocked, NotBefore)
    assert blocked.reason.startswith(DAY.name)
    assert isinstance(later, Permit)


@pytest.mark.parametrize("jump", [timedelta(seconds=29), timedelta(hours=-5)])
async def test_a_small_step_and_a_clock_that_is_put_back_are_no_jump(provider, postgres_dsn, jump):
    """After a step back, the same step forward is none either: a paused database is corrected."""
    async with new_machine(postgres_dsn) as machine:
        await machine.call()
        machine.real += timedelta(hours=6)
        machine.jump = jump
        await machine.call()
        machine.real += timedelta(hours=6)
        machine.jump = timedelta(0)
        await machine.call()
        jumps = await read_clock_jumps(machine.ledger._connection)

    assert jumps == []


async def test_a_jump_is_shown_until_the_clock_is_accepted(provider, postgres_dsn):
    async with new_machine(postgres_dsn) as machine:
        connection = machine.ledger._connection
        await machine.call()
        machine.jump = timedelta(hours=1)
        await machine.call()
        shown = await read_clock_jumps(connection)
        await accept_clock(connection)
        accepted = await read_clock_jumps(connection)
        machine.real += 3 * MINUTE
        await machine.call()

        assert accepted == await read_clock_jumps(connection) == []
    assert shown == [ClockJump(3_600.0, machine.real - 3 * MINUTE)]
    assert "jumped forward by 1 h" in str(shown[0])


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from([0.1, 2.0, 60.0, 121.0, 3_600.0, 40_000.0]), st.integers(1, 3)),
        min_size=5,
        max_size=30,
    ),
    at=st.integers(0, 30),
    jump_s=st.floats(CLOCK_S + 1, 400_000),
)
def test_no_jump_forward_makes_an_excess_call(provider, postgres_dsn, steps, at, jump_s):
    """
    If the clock is wrong after the jump, the days are those of the clock before it. If it was wrong
    before the jump, the calls before it were counted on other days; the later ones are exact.
    """

    async def play() -> tuple[list[datetime], int]:
        first = 0
        async with new_machine(postgres_dsn) as machine:
            for number, (gap_s, calls) in enumerate(steps):
                machine.real += timedelta(seconds=gap_s)
                if number == at:
                    machine.jump = timedelta(seconds=jump_s)
                await machine.call(calls)
                if number < at:
                    first = len(machine.arrivals)
            return machine.arrivals, first

    arrivals, first = asyncio.run(play())
    before = [DAY.start(arrival) for arrival in arrivals]
    after = [DAY.start(arrival + timedelta(seconds=jump_s)) for arrival in arrivals[first:]]

    assert_sliding(arrivals, SHORT)
    assert_sliding(arrivals, LONG)
    assert max(map(before.count, before), default=0) <= DAY.limit
    assert max(map(after.count, after), default=0) <= DAY.limit


async def test_a_pause_begins_and_ends_by_the_clock_of_the_database(
    provider, postgres_dsn, monkeypatch
):
    """The clock of the limiter is a day ahead."""

    class TomorrowClock(datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + timedelta(days=1)

    monkeypatch.setattr(ledger_module, "datetime", TomorrowClock)
    async with session(postgres_dsn, name="test") as connection:
        ledger = Ledger(connection, {"alpha_vantage": ["k"]})
        ends = [
            await ledger.cooldown("alpha_vantage", key, pause=pause, reason=key)
            for key, pause in (("k", timedelta(hours=3)), ("day", DAY), ("bad", None))
        ]
        cursor = await connection.execute(
            "SELECT now() + interval '3 hours', quota_window_end(%s, now()), NULL",
            (Jsonb(window_as_json(DAY)),),
        )
        want = await cursor.fetchone()
        shorter = await ledger.cooldown("alpha_vantage", "k", pause=SECOND, reason="shorter")
        blocked = await ledger.acquire("alpha_vantage", job="j", sweep=False)

    assert want is not None
    assert ends[0] is not None
    assert abs(ends[0] - want[0]) < MINUTE
    assert ends[1:] == list(want[1:])
    assert shorter == ends[0]
    assert isinstance(blocked, NotBefore)
    assert (blocked.moment, blocked.reason) == (ends[0], "k")

"""One chaos run: start, send, break, recover, compare."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tests.chaos import converge, stored
from tests.chaos.faults import KINDS, Injected, Injector, link_kinds
from tests.chaos.plan import PlannedFault, make_plan
from tests.chaos.sent_log import read_log
from tests.chaos.stack import LINKS, Stack, running, say
from tests.chaos.verify import FaultWindow, Verdict, judge, missing_trades
from tests.chaos.watch import Watch

PROGRESS_S = 5.0
START_S = 90.0


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a run."""

    minutes: float
    rate: float
    seed: int
    faults_per_minute: float
    only: tuple[str, ...]
    directory: Path

    @property
    def seconds(self) -> float:
        """How long faults are injected."""
        return self.minutes * 60


@dataclass(slots=True)
class Result:
    """The result of a run."""

    verdict: Verdict = field(default_factory=Verdict)
    faults: Sequence[Injected] = ()
    problems: list[str] = field(default_factory=list)

    @property
    def violations(self) -> list[str]:
        """Everything that must not be."""
        return [*self.problems, *self.verdict.violations]


def plan_of(options: Options) -> list[PlannedFault]:
    """Return the plan of a run."""
    kinds = [kind for kind in (*KINDS, *link_kinds(tuple(LINKS)))]
    if options.only:
        kinds = [kind for kind in kinds if kind.name in options.only]
    count = max(1, round(options.faults_per_minute * options.minutes))
    return make_plan(kinds, count=count, seconds=options.seconds, seed=options.seed)


async def run(options: Options) -> Result:
    """Run, and return what was found."""
    result = Result()
    async with running(options.directory, rate=options.rate, seed=options.seed) as stack:
        watch = Watch(stack)
        watching = asyncio.create_task(watch.run())
        try:
            await _break(stack, watch, options, result)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await asyncio.to_thread(_compare, stack, result)
    return result


async def _break(stack: Stack, watch: Watch, options: Options, result: Result) -> None:
    """Inject the faults, then wait until the pipeline is quiet."""
    injector = Injector(stack, say)
    result.faults = injector.injected
    await _first_records(watch)
    begun_s = time.monotonic()
    progress = asyncio.create_task(_show_progress(watch, injector, options, begun_s))
    try:
        async with asyncio.TaskGroup() as group:
            for planned in plan_of(options):
                await asyncio.sleep(max(0.0, begun_s + planned.at_s - time.monotonic()))
                group.create_task(_inject(injector, planned, watch))
            await asyncio.sleep(max(0.0, begun_s + options.seconds - time.monotonic()))
            say("no more faults; waiting until everything is stored")
        await converge.recovered(stack, watch)
        await converge.finished(stack)
    except converge.NotConverged as error:
        result.problems.append(f"the pipeline did not recover: {error}")
    finally:
        progress.cancel()
        await asyncio.gather(progress, return_exceptions=True)


async def _first_records(watch: Watch) -> None:
    """Wait until every shard stores records."""
    async with asyncio.timeout(START_S):
        await watch.flowing(frozenset(converge.SHARDS), since_s=0.0)


async def _inject(injector: Injector, planned: PlannedFault, watch: Watch) -> None:
    fault = await injector.inject(planned)
    ended_s = fault.ended_s or time.time()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(converge.RECOVER_S):
            await watch.flowing(fault.waits_for, since_s=ended_s)
            fault.recovery_s = time.time() - ended_s


async def _show_progress(
    watch: Watch, injector: Injector, options: Options, begun_s: float
) -> None:
    while True:
        elapsed_s = time.monotonic() - begun_s
        active = ", ".join(f"{f.planned.kind} {f.planned.target}" for f in injector.active)
        say(
            f"{elapsed_s:6.0f} s  {len(injector.injected):3d} faults  sent {watch.sent:9,d}  "
            f"stored {watch.total:9,d}  behind {max(0, watch.sent - watch.total):7,d}"
            + (f"  now: {active}" if active else "")
        )
        await asyncio.sleep(PROGRESS_S)


def _compare(stack: Stack, result: Result) -> None:
    dsn = stack.postgres.dsn
    log = read_log(stack.venue.log)
    facts = stored.read_facts(dsn, _plain_times)
    missing = missing_trades(log, facts)
    keys = {item.before.key for item in missing if item.before is not None}
    received_s = {key: at_s for key, (at_s, _) in stored.received(dsn, keys).items()}
    result.verdict = judge(log, facts, missing, received_s, _windows(result.faults))
    result.problems += stored.differences_in_redis(dsn, stack.redis.url)


def _windows(faults: Sequence[Injected]) -> list[FaultWindow]:
    from tests.chaos.faults import AFTERMATH_S

    return [
        FaultWindow(f.begun_s, (f.ended_s or time.time()) + AFTERMATH_S, f.shards, str(f.planned))
        for f in faults
        if f.shards is None or f.shards
    ]


def _plain_times(
    _: int, from_at: datetime | None, to_at: datetime | None, recorded_at: datetime
) -> list[tuple[float, float]]:
    to_s = (to_at or recorded_at).timestamp()
    return [(from_at.timestamp() if from_at else to_s, to_s)]

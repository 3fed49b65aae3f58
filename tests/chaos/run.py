"""One chaos run: start, send, break, recover, compare."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos import converge, slots, stored
from tests.chaos.faults import Injected, Injector, delayed_by, possible_kinds
from tests.chaos.plan import PlannedFault, make_plan
from tests.chaos.quotas import exceeded, read_calls
from tests.chaos.sent_log import read_log
from tests.chaos.stack import FEEDS, PRODUCER_OF, STREAMS, Stack, running, say
from tests.chaos.venue import stream_key
from tests.chaos.verify import Verdict, judge, missing_trades
from tests.chaos.watch import Watch

PROGRESS_S = 5.0
START_S = 240.0
# After these, values come from Postgres, which may be behind; this long after the fault.
LOSES_LATEST_VALUES = frozenset({"redis_old_copy", "redis_flush"})
SETTLE_S = 30.0


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

    verdicts: dict[str, Verdict] = field(default_factory=dict)  # by feed
    faults: Sequence[Injected] = ()
    problems: list[str] = field(default_factory=list)
    calls: int = 0
    slots: Counter[str] = field(default_factory=Counter)  # by the state of their runs

    @property
    def violations(self) -> list[str]:
        """Everything that must not be."""
        texts = [
            f"{feed}: {text}"
            for feed, verdict in self.verdicts.items()
            for text in verdict.violations
        ]
        return [*self.problems, *texts]


def plan_of(options: Options, stack: Stack) -> list[PlannedFault]:
    """Return the plan of a run."""
    kinds = possible_kinds(stack)
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
        result.problems += _steps_back(watch, result.faults)
        await asyncio.to_thread(_compare, stack, result)
        _write_details(options.directory, result)
    return result


async def _break(stack: Stack, watch: Watch, options: Options, result: Result) -> None:
    """Inject the faults, then wait until the pipeline is quiet."""
    injector = Injector(stack)
    result.faults = injector.injected
    await _first_records(watch)
    begun_s = time.monotonic()
    progress = asyncio.create_task(_show_progress(watch, injector, options, begun_s))
    try:
        async with asyncio.TaskGroup() as group:
            for planned in plan_of(options, stack):
                await asyncio.sleep(max(0.0, begun_s + planned.at_s - time.monotonic()))
                group.create_task(_inject(injector, planned, watch, result))
            await asyncio.sleep(max(0.0, begun_s + options.seconds - time.monotonic()))
            say("no more faults; waiting until everything is stored")
        due_until = datetime.now(UTC)
        await converge.recovered(stack, watch)
        await converge.slots_ended(stack, due_until)
        await converge.finished(stack)
    except converge.NotConverged as error:
        result.problems.append(f"the pipeline did not recover: {error}")
    finally:
        progress.cancel()
        await asyncio.gather(progress, return_exceptions=True)


async def _first_records(watch: Watch) -> None:
    """Wait until every stream stores records."""
    try:
        async with asyncio.timeout(START_S):
            await watch.flowing(frozenset(STREAMS), since_s=0.0)
    except TimeoutError:
        silent = [stream_key(stream) for stream in STREAMS if stream not in watch.moved_s]
        raise TimeoutError(
            f"{', '.join(silent)} stored nothing within {START_S:g} s; read the logs in "
            f"{watch.stack.directory}"
        ) from None


async def _inject(injector: Injector, planned: PlannedFault, watch: Watch, result: Result) -> None:
    """Inject a fault and measure the recovery. A fault that fails does not end the run."""
    try:
        fault = await injector.inject(planned)
    except Exception as error:
        result.problems.append(f"fault {planned} failed: {type(error).__name__}: {error}")
        return
    ended_s = fault.ended_s or time.time()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(converge.RECOVER_S):
            await watch.flowing(delayed_by(planned), since_s=ended_s)
            fault.recovery_s = time.time() - ended_s


async def _show_progress(
    watch: Watch, injector: Injector, options: Options, begun_s: float
) -> None:
    while True:
        elapsed_s = time.monotonic() - begun_s
        active = ", ".join(f"{f.planned.kind.name} {f.planned.target}" for f in injector.active)
        say(
            f"{elapsed_s:6.0f} s  {len(injector.injected):3d} faults  sent {watch.sent:9,d}  "
            f"stored {watch.total:9,d}  behind {max(0, watch.sent - watch.total):7,d}"
            + (f"  now: {active}" if active else "")
        )
        await asyncio.sleep(PROGRESS_S)


def _compare(stack: Stack, result: Result) -> None:
    """Compare the simulators' logs with the stores and the quotas."""
    for feed in FEEDS:
        result.verdicts[feed] = _compare_feed(stack, feed, result.faults)
        result.problems += stored.differences_in_redis(stack.postgres.dsn, stack.redis.url, feed)
    result.problems += slots.doubled(
        slots.read_starts(stack.slots_log), stored.successes(stack.postgres.dsn)
    )
    result.slots = Counter(run.state for run in stored.slot_runs(stack.postgres.dsn))
    calls = read_calls(line for path in stack.calls_logs for line in path.read_text().splitlines())
    result.calls = len(calls)
    result.problems += exceeded(calls)


def _compare_feed(stack: Stack, feed: str, faults: Sequence[Injected]) -> Verdict:
    dsn = stack.postgres.dsn
    log = read_log(stack.sent_log(feed))

    def real_time(shard: int, written_s: float) -> float:
        producer = PRODUCER_OF.get((feed, shard), "")
        return stack.clocks.real_s(producer, written_s)

    facts = stored.read_facts(dsn, feed, real_time)
    missing = missing_trades(log, facts)
    keys = {item.before.key for item in missing if item.before is not None}
    receipts = stored.receipts(dsn, feed, keys, real_time)
    return judge(log, facts, missing, receipts, [fault.window(feed) for fault in faults])


def _steps_back(watch: Watch, faults: Sequence[Injected]) -> list[str]:
    """Return each step back of a latest value that is not due to an old copy of Redis' files."""
    restored = [fault for fault in faults if fault.planned.kind.name in LOSES_LATEST_VALUES]
    return [
        step.text
        for step in watch.steps_back
        if not any(
            fault.begun_s <= step.to_s and step.from_s <= (fault.ended_s or step.to_s) + SETTLE_S
            for fault in restored
        )
    ]


def _write_details(directory: Path, result: Result) -> None:
    """Keep the times of the faults, the gaps and the missing trades with the logs."""
    lines = [
        f"{fault.begun_s:.3f} to {fault.ended_s or 0:.3f}: fault {fault.planned}, "
        f"recovered after {fault.recovery_s}"
        for fault in result.faults
    ]
    lines += [
        f"{feed}: {text}" for feed, verdict in result.verdicts.items() for text in verdict.details
    ]
    lines += [f"violation: {text}" for text in result.violations]
    (directory / "details.log").write_text("\n".join(lines) + "\n")

"""The highest rate that the whole chain sustains, and which part of it takes how much CPU."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.line import Line, flowing
from benchmarks.processes import CORES, Usage, say
from benchmarks.servers import Servers

TITLE = "The highest rate of the whole chain"
SETTLE_S = 3.0
PROBE_S = 8.0
SAMPLE_S = 0.5
LEAST_SHARE = 0.98
FLAT_S = 0.25
BACK_OFF = 0.9


@dataclass(frozen=True, slots=True)
class Step:
    """
    A measurement at one rate.

    Attributes:
        asked_per_s: The configured rate of the simulator.
        sent_per_s, stored_per_s: What it sent, and what Postgres committed in the same time.
        lag_s: Mean number of sent records that are not stored, in seconds of sending.
        growth_s: The growth of the lag from the first half to the second.
        load: The used share of the machine's CPU time, from 0 to 1.
        elsewhere: The share that processes outside the measurement used.
        cpu_s: CPU seconds per million records, by stage.
    """

    asked_per_s: int
    seconds: float
    sent_per_s: float
    stored_per_s: float
    lag_s: float
    growth_s: float
    load: float
    elsewhere: float
    cpu_s: Mapping[str, float]

    @property
    def sustained(self) -> bool:
        """Whether the requested rate was sent and the lag did not grow."""
        return self.sent_per_s >= LEAST_SHARE * self.asked_per_s and self.growth_s <= FLAT_S

    def markdown(self) -> str:
        """Return the row of the table."""
        return (
            f"| {self.asked_per_s:,} | {self.seconds:.0f} | {self.sent_per_s:,.0f} | "
            f"{self.stored_per_s:,.0f} | {self.lag_s * 1000:.0f} | {self.growth_s * 1000:+.0f} | "
            f"{self.load:.0%} | {self.elsewhere:.0%} | "
            f"{'yes' if self.sustained else 'no'} |"
        )


@dataclass(frozen=True, slots=True)
class Chain:
    """The result: all rates that were tried; the last one was held for longer."""

    steps: Sequence[Step]
    lost: int


def measure(servers: Servers, *, step_per_s: int, seconds: float) -> Chain:
    """Raise the rate until it is not sustained, then hold the best one for `seconds`."""
    steps: list[Step] = []
    with flowing(servers, per_s=1_000) as line:
        per_s = _climb(line, steps, step_per_s)
        while True:
            steps.append(_hold(line, per_s, seconds))
            lost = line.drain()
            if steps[-1].sustained or per_s < step_per_s / 4:
                return Chain(steps, lost)
            per_s = int(per_s * BACK_OFF)


def _climb(line: Line, steps: list[Step], step_per_s: int) -> int:
    """Return the highest rate that a short probe sustains, to half a step."""

    def sustained(per_s: int) -> bool:
        steps.append(_hold(line, per_s, PROBE_S))
        if not steps[-1].sustained:
            line.drain()
        return steps[-1].sustained

    best, half = 0, step_per_s // 2
    while sustained(best + step_per_s):
        best += step_per_s
    return best + half if sustained(best + half) else best or half // 2


def _hold(line: Line, per_s: int, seconds: float) -> Step:
    """Send at a rate, and sample the number of sent and of stored records."""
    line.set_rate(per_s)
    time.sleep(SETTLE_S)
    used = Usage(line.pids)
    used.begin()
    begun_s, sent, stored = time.monotonic(), line.sent(), line.stored()
    lags = []
    while time.monotonic() - begun_s < seconds:
        time.sleep(SAMPLE_S)
        # In this order, records that are stored between the two calls cannot make the lag negative.
        before = line.stored()
        lags.append(line.sent() - before)
    sent, stored = line.sent() - sent, line.stored() - stored
    passed_s = time.monotonic() - begun_s
    used.finish()
    middle = len(lags) // 2
    step = Step(
        asked_per_s=per_s,
        seconds=passed_s,
        sent_per_s=sent / passed_s,
        stored_per_s=stored / passed_s,
        lag_s=fmean(lags) / per_s,
        growth_s=(fmean(lags[middle:]) - fmean(lags[:middle])) / per_s,
        load=used.load,
        elsewhere=used.other_s / (passed_s * CORES),
        cpu_s={name: spent_s / sent * 1e6 for name, spent_s in used.by_stage.items()},
    )
    say(f"chain: {step.markdown()}")
    return step


def section(result: Chain) -> str:
    """Return the section of RESULTS.md."""
    held = result.steps[-1]
    per_s = min(held.sent_per_s, held.stored_per_s)
    return TEXT.format(
        per_s=per_s,
        seconds=held.seconds,
        verdict="" if held.sustained else " It was not sustained, and no lower rate was either.",
        lost=result.lost,
        steps="\n".join(step.markdown() for step in result.steps),
        cpu="\n".join(f"| {name} | {spent:.1f} |" for name, spent in held.cpu_s.items()),
        least=LEAST_SHARE,
        flat_ms=FLAT_S * 1000,
    )


TEXT = """\
One connection through simulator, producer, Apache Kafka, consumer, Postgres and Redis:
**{per_s:,.0f} records per second** for {seconds:.0f} s, {lost} lost.{verdict} A rate
counts as sustained if at least {least:.0%} of the requested records are sent, and if the lag
(records that are sent but not stored) grows by at most {flat_ms:.0f} ms from the first half of the
time to the second. The rate is raised until it is not sustained.

| requested/s | s | sent/s | stored/s | lag, ms | growth, ms | busy | others | sustained |
|---|---|---|---|---|---|---|---|---|
{steps}

"busy" is the used share of the machine's CPU time, and "others" the share that other processes
used. A failed rate proves little if other processes were busy.

CPU time at the last rate, in seconds per million records, including child processes:

| stage | CPU s |
|---|---|
{cpu}
"""

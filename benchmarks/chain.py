"""The highest rate that the whole chain sustains, and which part of it takes how much CPU."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.line import Line, flowing
from benchmarks.processes import Usage, say
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
    A while at one rate.

    Attributes:
        asked_per_s: What the simulator was asked to send.
        sent_per_s, stored_per_s: What it sent, and what Postgres committed in the same time.
        lag_s: Mean of what was sent and not stored, in seconds of sending.
        growth_s: By how much that was more in the second half than in the first.
    """

    asked_per_s: int
    seconds: float
    sent_per_s: float
    stored_per_s: float
    lag_s: float
    growth_s: float

    @property
    def sustained(self) -> bool:
        """Whether it was sent as asked, with a lag that did not grow."""
        return self.sent_per_s >= LEAST_SHARE * self.asked_per_s and self.growth_s <= FLAT_S

    def markdown(self) -> str:
        """Return the row of the table."""
        return (
            f"| {self.asked_per_s:,} | {self.seconds:.0f} | {self.sent_per_s:,.0f} | "
            f"{self.stored_per_s:,.0f} | {self.lag_s * 1000:.0f} | {self.growth_s * 1000:+.0f} | "
            f"{'yes' if self.sustained else 'no'} |"
        )


@dataclass(frozen=True, slots=True)
class Chain:
    """
    What was measured.

    Attributes:
        steps: All rates that were tried; the last one was held.
        cpu_s: CPU seconds per million records while it was held, by stage.
        load: Share of the machine's CPU time that was used in that time, 1 being all of it.
    """

    steps: Sequence[Step]
    cpu_s: Mapping[str, float]
    load: float
    lost: int


def measure(servers: Servers, *, step_per_s: int, seconds: float) -> Chain:
    """Raise the rate until it is not sustained, then hold the best one for `seconds`."""
    steps: list[Step] = []
    with flowing(servers, per_s=1_000) as line:
        per_s = _climb(line, steps, step_per_s)
        while True:
            used = Usage(line.pids)
            steps.append(_hold(line, per_s, seconds, used))
            lost = line.drain()
            if steps[-1].sustained or per_s < step_per_s / 4:
                return Chain(steps, _cpu_s(used, steps[-1]), used.load, lost)
            per_s = int(per_s * BACK_OFF)


def _cpu_s(used: Usage, step: Step) -> dict[str, float]:
    """Return CPU seconds per million records, by stage."""
    millions = step.sent_per_s * step.seconds / 1e6
    spent = {**used.by_stage, "anything else on the machine": used.other_s}
    return {name: spent_s / millions for name, spent_s in spent.items()}


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


def _hold(line: Line, per_s: int, seconds: float, used: Usage | None = None) -> Step:
    """Send at a rate and look at what is sent and not yet stored."""
    line.set_rate(per_s)
    time.sleep(SETTLE_S)
    if used is not None:
        used.begin()
    begun_s, sent, stored = time.monotonic(), line.sent(), line.stored()
    lags = []
    while time.monotonic() - begun_s < seconds:
        time.sleep(SAMPLE_S)
        # In this order: what is stored meanwhile counts as lag, not the other way.
        before = line.stored()
        lags.append(line.sent() - before)
    sent, stored = line.sent() - sent, line.stored() - stored
    passed_s = time.monotonic() - begun_s
    if used is not None:
        used.finish()
    middle = len(lags) // 2
    step = Step(
        asked_per_s=per_s,
        seconds=passed_s,
        sent_per_s=sent / passed_s,
        stored_per_s=stored / passed_s,
        lag_s=fmean(lags) / per_s,
        growth_s=(fmean(lags[middle:]) - fmean(lags[:middle])) / per_s,
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
        verdict="" if held.sustained else " It was not sustained: even less was tried in vain.",
        lost=result.lost,
        steps="\n".join(step.markdown() for step in result.steps),
        cpu="\n".join(f"| {name} | {spent:.1f} |" for name, spent in result.cpu_s.items()),
        load=result.load,
        least=LEAST_SHARE,
        flat_ms=FLAT_S * 1000,
    )


TEXT = """\
One connection through simulator, producer, Apache Kafka, consumer, Postgres and Redis:
**{per_s:,.0f} records a second** for {seconds:.0f} s, {lost} lost.{verdict} The rate is
raised while {least:.0%} of what is asked for is sent and the lag, which is what was sent and is not
in Postgres, does not grow from one half of the time to the other by more than {flat_ms:.0f} ms.

| asked per s | s | sent per s | stored per s | lag, ms | its growth, ms | sustained |
|---|---|---|---|---|---|---|
{steps}

CPU while the last rate was held, in seconds per million records, children included:

| stage | CPU s |
|---|---|
{cpu}

The machine was busy for {load:.0%} of its CPU time.
"""

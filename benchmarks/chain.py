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
    A while at one rate.

    Attributes:
        asked_per_s: What the simulator was asked to send.
        sent_per_s, stored_per_s: What it sent, and what Postgres committed in the same time.
        lag_s: Mean of what was sent and not stored, in seconds of sending.
        growth_s: By how much that was more in the second half than in the first.
        load: Share of the machine's CPU time that was used; 1 is all of it.
        elsewhere: The part of that share which was none of ours.
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
        """Whether it was sent as asked, with a lag that did not grow."""
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
    """What was measured: all rates that were tried, the last one held for long."""

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
    """Send at a rate and look at what is sent and not yet stored."""
    line.set_rate(per_s)
    time.sleep(SETTLE_S)
    used = Usage(line.pids)
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
        verdict="" if held.sustained else " It was not sustained: even less was tried in vain.",
        lost=result.lost,
        steps="\n".join(step.markdown() for step in result.steps),
        cpu="\n".join(f"| {name} | {spent:.1f} |" for name, spent in held.cpu_s.items()),
        least=LEAST_SHARE,
        flat_ms=FLAT_S * 1000,
    )


TEXT = """\
One connection through simulator, producer, Apache Kafka, consumer, Postgres and Redis:
**{per_s:,.0f} records a second** for {seconds:.0f} s, {lost} lost.{verdict} The rate is
raised while {least:.0%} of what is asked for is sent and the lag, which is what was sent and is not
in Postgres, does not grow from one half of the time to the other by more than {flat_ms:.0f} ms.

| asked per s | s | sent per s | stored per s | lag, ms | growth, ms | busy | others | sustained |
|---|---|---|---|---|---|---|---|---|
{steps}

"busy" is the machine's CPU time that was used, "others" what of it was used by anything else: a
rate that fails while others work says little.

CPU while the last rate was held, in seconds per million records, children included:

| stage | CPU s |
|---|---|
{cpu}
"""

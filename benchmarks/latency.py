"""How long a record takes from the provider's socket to Redis and to Postgres, at a steady rate."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.consume import Sample
from benchmarks.line import flowing
from benchmarks.processes import CORES, Usage, end, say
from benchmarks.servers import Servers

TITLE = "Latency through the whole chain"
WARM_UP_S = 10.0


@dataclass(frozen=True, slots=True)
class Span:
    """The time from the sending of a record to one stage of the chain, in ms."""

    name: str
    p50_ms: float
    p99_ms: float
    max_ms: float
    aim_p99_ms: float | None = None

    def markdown(self) -> str:
        """Return the row of the table."""
        aim = "" if self.aim_p99_ms is None else f"{self.aim_p99_ms:g}"
        return (
            f"| {self.name} | {self.p50_ms:.1f} | {self.p99_ms:.1f} | {self.max_ms:.1f} | {aim} |"
        )


@dataclass(frozen=True, slots=True)
class Latency:
    """
    The result of the measurement.

    Attributes:
        load: The used share of the machine's CPU time, from 0 to 1.
        elsewhere: The share that processes outside the measurement used.
    """

    per_s: float
    seconds: float
    records: int
    lost: int
    spans: Sequence[Span]
    load: float
    elsewhere: float


def measure(servers: Servers, *, per_s: int, seconds: float) -> Latency:
    """Run the chain at a rate, and follow the records that are sent within `seconds`."""
    path = servers.home / "samples.json"
    with flowing(servers, per_s=per_s, samples=path) as line:
        say(f"latency: {per_s:,} records a second, {WARM_UP_S:g} s to warm up")
        time.sleep(WARM_UP_S)
        used = Usage(line.pids)
        used.begin()
        from_s = time.time()
        say(f"latency: measuring {seconds:g} s")
        time.sleep(seconds)
        to_s = time.time()
        used.finish()
        lost = line.drain()
        end(line.consumer)
    elsewhere = used.other_s / (seconds * CORES)
    samples = _within(path, from_s, to_s)
    return summarise(samples, seconds=seconds, lost=lost, load=used.load, elsewhere=elsewhere)


def _within(path: Path, from_s: float, to_s: float) -> list[Sample]:
    samples = msgspec.json.decode(path.read_bytes(), type=list[Sample])
    return [sample for sample in samples if from_s <= sample.sent_s < to_s]


def summarise(
    samples: Sequence[Sample], *, seconds: float, lost: int, load: float, elsewhere: float
) -> Latency:
    """Return the quantiles. A record without a value in Redis counts as lost."""
    visible = [sample for sample in samples if sample.visible_s is not None]
    spans = (
        _span("read by our producer", [sample.received_s - sample.sent_s for sample in samples]),
        _span(
            "on its way to the broker", [sample.published_s - sample.sent_s for sample in samples]
        ),
        _span("read by our consumer", [sample.polled_s - sample.sent_s for sample in samples]),
        _span(
            "in Redis",
            [sample.visible_s - sample.sent_s for sample in visible if sample.visible_s],
            20,
        ),
        _span(
            "committed in Postgres", [sample.committed_s - sample.sent_s for sample in samples], 40
        ),
    )
    missing = lost + len(samples) - len(visible)
    return Latency(len(samples) / seconds, seconds, len(samples), missing, spans, load, elsewhere)


def _span(name: str, taken_s: Sequence[float], aim_p99_ms: float | None = None) -> Span:
    taken_ms = sorted(taken * 1000 for taken in taken_s)
    return Span(name, quantile(taken_ms, 0.5), quantile(taken_ms, 0.99), taken_ms[-1], aim_p99_ms)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def section(result: Latency) -> str:
    """Return the section of RESULTS.md."""
    return TEXT.format(
        per_s=result.per_s,
        seconds=result.seconds,
        records=result.records,
        lost=result.lost,
        load=result.load,
        elsewhere=result.elsewhere,
        table="\n".join(span.markdown() for span in result.spans),
    )


TEXT = """\
Finnhub simulator, socket, producer, Apache Kafka, consumer, Postgres and Redis, each a process of
its own. {records:,} records at {per_s:,.0f} a second for {seconds:g} s, after a warm-up;
{lost} did not arrive. Milliseconds since the simulator sent the record:

| | p50 | p99 | max | goal (p99) |
|---|---|---|---|---|
{table}

The simulator puts a time on each trade just before it writes it to the socket, and truncates it to
milliseconds, so every value is up to 1 ms too high. The end is the time at which the consumer has
received the answer of Redis or Postgres. If one write has several trades of a symbol, Redis
receives the newest; the older ones count as visible at the same time.

The machine used {load:.0%} of its CPU time; processes outside this
measurement used {elsewhere:.0%}.
"""

"""Memory of every actor while the demo runs: what it begins with, and whether it grows."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from statistics import StatisticsError, fmean, linear_regression

import psutil
import psycopg

from benchmarks.processes import environment, say
from benchmarks.servers import temporary_home
from ray_pipeline.cli.up import DEMO_BITHUMB_RATE, DEMO_FINNHUB_RATE
from ray_pipeline.local import stack

TITLE = "Memory of the actors"
EVERY_S = 5.0
WARM_UP_S = 60.0
MINUTE_S = 60.0
START_S = 180.0
END_S = 120.0
# Who holds what; the second part of a holder is its process.
HOLDERS = """
    SELECT split_part(holder, '/', 2)::int, 'Producer ' || feed || '/' || lpad(shard::text, 2, '0')
    FROM producer_epochs
    UNION ALL
    SELECT split_part(holder, '/', 2)::int, 'Consumer ' || topic FROM consumer_state
"""


@dataclass(frozen=True, slots=True)
class ActorMemory:
    """One actor's process, in MiB; the slope is NaN where it did not live long enough."""

    name: str
    first_minute_mib: float
    last_minute_mib: float
    slope_mib_per_h: float

    def markdown(self) -> str:
        """Return the row of the table."""
        slope = self.slope_mib_per_h
        return (
            f"| {self.name} | {self.first_minute_mib:.1f} | {self.last_minute_mib:.1f} | "
            f"{'' if isnan(slope) else f'{slope:+.1f}'} |"
        )


@dataclass(frozen=True, slots=True)
class Memory:
    """What was measured; `clean` is what the audit at the demo's end says."""

    seconds: float
    clean: bool
    actors: Sequence[ActorMemory]


@dataclass(slots=True)
class _Watched:
    """One process: its class, and its samples as (seconds, MiB)."""

    name: str
    samples: list[tuple[float, float]] = field(default_factory=list)

    def summary(self) -> ActorMemory:
        begin_s, end_s = self.samples[0][0], self.samples[-1][0]
        warm = [one for one in self.samples if one[0] >= begin_s + WARM_UP_S]
        first = [mib for at_s, mib in self.samples if at_s < begin_s + MINUTE_S]
        last = [mib for at_s, mib in self.samples if at_s > end_s - MINUTE_S]
        try:
            slope = linear_regression(*zip(*warm, strict=True)).slope * 3600 if warm else None
        except StatisticsError:
            slope = None
        return ActorMemory(
            self.name, fmean(first), fmean(last), float("nan") if slope is None else slope
        )


def measure(*, seconds: float) -> Memory:
    """Run the demo for `seconds`, and sample its actors."""
    watched: dict[int, _Watched] = {}
    with temporary_home() as home, _demo(home, seconds) as process:
        say(f"memory: the demo runs for {seconds:g} s")
        deadline_s = time.monotonic() + START_S + seconds + END_S
        while process.poll() is None and time.monotonic() < deadline_s:
            _sample(process, watched)
            _name(home, watched)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(EVERY_S)
        if process.poll() is None:
            raise TimeoutError("the demo does not end")
        clean = process.returncode == 0
        if not watched:
            raise RuntimeError((home / "demo.log").read_text()[-2_000:])
    actors = sorted((one.summary() for one in watched.values()), key=lambda one: one.name)
    return Memory(seconds, clean, actors)


@contextlib.contextmanager
def _demo(home: Path, seconds: float) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the demo for the length of a block, and leave nothing of it behind."""
    script = Path(sys.executable).with_name("ray-pipeline")
    # Ray's files go to the system's temporary directory otherwise, and stay there.
    values = {"PIPELINE_HOME": str(home), "TMPDIR": str(home)}
    with (home / "demo.log").open("wb") as log:
        process = subprocess.Popen(
            [str(script), "demo", "--for", f"{seconds:g}"], env=environment(values), cwd=home,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        _end(process)
        stack.down(home)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask the demo to end, and make sure that it and all it started are gone."""
    family = _family(process)
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
    _, left = psutil.wait_procs(family, timeout=10)
    for one in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()


def _family(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    try:
        demo = psutil.Process(process.pid)
        return [demo, *demo.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _sample(process: "subprocess.Popen[bytes]", watched: dict[int, _Watched]) -> None:
    """Take the memory of every process whose title is an actor's: ray::ProducerActor.status."""
    for one in _family(process):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            title = "".join(one.cmdline()[:1]).strip()
            name = title.removeprefix("ray::").split(".")[0]
            if title.startswith("ray::") and name.endswith("Actor"):
                mib = one.memory_info().rss / 2**20
                known = watched.setdefault(one.pid, _Watched(name.removesuffix("Actor")))
                known.samples.append((time.monotonic(), mib))


def _name(home: Path, watched: Mapping[int, _Watched]) -> None:
    """Give processes the names of what they hold, as far as Postgres knows."""
    if dsn := stack.env(home).get("PIPELINE_POSTGRES__DSN"):
        with contextlib.suppress(psycopg.Error), psycopg.connect(dsn) as connection:
            for pid, name in connection.execute(HOLDERS):
                if pid in watched:
                    watched[pid].name = name


def section(result: Memory) -> str:
    """Return the section of RESULTS.md."""
    return TEXT.format(
        seconds=result.seconds,
        per_s=DEMO_FINNHUB_RATE + DEMO_BITHUMB_RATE,
        audit="clean" if result.clean else "NOT clean",
        table="\n".join(actor.markdown() for actor in result.actors),
    )


TEXT = """\
`ray-pipeline demo --for {seconds:g}`, {per_s} simulated records a second; its audit at the end was
{audit}. Resident memory of each actor's process in MiB, every 5 s; the slope is by least squares,
after a minute of warm-up.

| actor | first minute | last minute | slope, MiB/h |
|---|---|---|---|
{table}

Pages that Ray's processes share count in each of them. A growth of 1 MiB within ten minutes is
6 MiB/h: only hours tell a leak from warming up.
"""

"""Memory of every actor while the demo runs: its size at the beginning, and its growth."""

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
# Holders by resource; the second part of a holder is its process.
HOLDERS = """
    SELECT split_part(holder, '/', 2)::int, 'Producer ' || feed || '/' || lpad(shard::text, 2, '0')
    FROM producer_epochs
    UNION ALL
    SELECT split_part(holder, '/', 2)::int, 'Consumer ' || topic FROM consumer_state
"""


@dataclass(frozen=True, slots=True)
class ActorMemory:
    """The process of one actor, in MiB; the slope is NaN if it did not run long enough."""

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
    """The result; `clean` is the verdict of the audit at the end of the demo."""

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
        warm = [sample for sample in self.samples if sample[0] >= begin_s + WARM_UP_S]
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
    actors = sorted(
        (process.summary() for process in watched.values()), key=lambda actor: actor.name
    )
    return Memory(seconds, clean, actors)


@contextlib.contextmanager
def _demo(home: Path, seconds: float) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the demo during a block, and delete its files afterwards."""
    script = Path(sys.executable).with_name("ray-pipeline")
    # Otherwise Ray would write into the system's temporary directory and leave its files there.
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
    """Shut the demo down, and make sure that its processes have ended."""
    family = _family(process)
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
    _, survivors = psutil.wait_procs(family, timeout=10)
    for survivor in survivors:
        with contextlib.suppress(psutil.NoSuchProcess):
            survivor.kill()
    process.wait()


def _family(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    try:
        demo = psutil.Process(process.pid)
        return [demo, *demo.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _sample(process: "subprocess.Popen[bytes]", watched: dict[int, _Watched]) -> None:
    """Sample the memory of every process with the title of an actor: ray::ProducerActor.status."""
    for member in _family(process):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            title = "".join(member.cmdline()[:1]).strip()
            name = title.removeprefix("ray::").split(".")[0]
            if title.startswith("ray::") and name.endswith("Actor"):
                mib = member.memory_info().rss / 2**20
                actor = watched.setdefault(member.pid, _Watched(name.removesuffix("Actor")))
                actor.samples.append((time.monotonic(), mib))


def _name(home: Path, watched: Mapping[int, _Watched]) -> None:
    """Name processes after the leases that they hold in Postgres."""
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
`ray-pipeline demo --for {seconds:g}` with {per_s} simulated records per second; its audit at the
end was {audit}. The table has the resident memory of each actor's process in MiB, sampled every
5 s. The slope is a least-squares fit after a warm-up of one minute.

| actor | first minute | last minute | slope, MiB/h |
|---|---|---|---|
{table}

Pages that Ray's processes share are counted in each process. A growth of 1 MiB within ten minutes
is 6 MiB/h; only a run of hours distinguishes a leak from the warm-up.
"""

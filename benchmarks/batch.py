"""
The batch half: the limiter's grants, a sweep's speed, what storing costs, how late slots are.

Each measurement is a process of its own with a database of its own, and is repeated.
"""

import contextlib
import json
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import say, started
from benchmarks.servers import database, temporary_home
from ray_pipeline.local.servers import PostgresServer

KEYS = '{"finnhub": ["bench"]}'
SPEED = "1000000"  # of the providers' clock: no quota is in the way
PATIENCE_S = 300.0
ANSWER_S = 0.02
ROUNDS = 3

Numbers = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class World:
    """What the measurements share: a Postgres, and a simulator of every provider."""

    home: Path
    postgres: PostgresServer
    control_url: str
    variables: Mapping[str, str]

    def answer_after(self, seconds: float) -> None:
        """Let Finnhub take its time for every answer; 0: none."""
        fault = {"provider": "finnhub", "fault": "slow", "seconds": seconds}
        if not seconds:
            fault = {"provider": "finnhub", "fault": "clear"}
        with urllib.request.urlopen(self.control_url, json.dumps(fault).encode()) as answer:
            answer.read()


@contextlib.contextmanager
def running() -> Iterator[World]:
    """Start the servers, and stop them."""
    with temporary_home() as home, contextlib.ExitStack() as cleanup:
        postgres = PostgresServer(home / "postgres")
        cleanup.callback(postgres.stop)
        postgres.start()
        arguments = ["-m", "ray_pipeline.simulators", "rest", "--until-stdin-ends"]
        simulator = cleanup.enter_context(started(arguments, {}, home=home))
        assert simulator.stdout is not None
        there = json.loads(simulator.stdout.readline())
        yield World(home, postgres, there["control_url"], there["variables"])


def repeat(world: World, name: str, *, rounds: int = ROUNDS) -> list[Numbers]:
    """Measure several times."""
    return [measure(world, name, f"{name}_{number}") for number in range(rounds)]


def measure(world: World, name: str, suffix: str) -> Numbers:
    """Measure once, in a fresh database."""
    values = {
        **world.variables,
        "PIPELINE_HOME": str(world.home),
        "PIPELINE_POSTGRES__DSN": database(world.postgres, f"bench_{suffix}"),
        "PIPELINE_API_KEYS": KEYS,
        "PIPELINE_JOBS__SPEED": SPEED,
    }
    with started(["-m", "benchmarks.batch_work", name], values, home=world.home) as process:
        said, _ = process.communicate(timeout=PATIENCE_S)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, f"{sys.argv[0]} {name}")
    numbers: Numbers = json.loads(said)
    say(f"{name}: {said.strip()}")
    return numbers


def spread(rounds: Sequence[Numbers], name: str, *, digits: int = 0) -> str:
    """Return the median, and from where to where it went."""
    values = [one[name] for one in rounds]
    low, high = min(values), max(values)
    return f"{statistics.median(values):,.{digits}f} | {low:,.{digits}f} to {high:,.{digits}f}"


# Sections ----------------------------------------------------------------------------------------

LIMITER = "Batch: grants of the limiter"
SWEEP = "Batch: a sweep of 500 companies"
WIDE = "Batch: storing 100,000 rows"
SLOTS = "Batch: forty jobs due in one minute"
TITLES = [LIMITER, SWEEP, WIDE, SLOTS]


def limiter(world: World) -> str:
    """Return the section about grants."""
    rounds = repeat(world, "limiter")
    rows = [
        ("one caller, one grant a question", "one", "300 and more"),
        ("eight callers, one grant a question", "many", ""),
        ("eight callers, leases of 20", "leased", "5,000 and more"),
    ]
    return LIMITER_TEXT.format(
        rounds=len(rounds),
        table="\n".join(
            f"| {title} | {spread(rounds, name)} | {aim} | "
            f"{spread(rounds, name + '_p99_ms', digits=1)} |"
            for title, name, aim in rows
        ),
    )


LIMITER_TEXT = """\
The limiter actor's class, without Ray, asked for Finnhub's calls (two windows); every grant is a
row in Postgres, committed before the answer. {rounds} rounds of 5 s each.

| | grants/s, median | from, to | aim | p99 of a question, ms | from, to |
|---|---|---|---|---|---|
{table}

The aim for the p99 is 20 ms. Eight callers wait for each other: the ledger answers one at a time.
"""


def sweep(world: World) -> str:
    """Return the section about a sweep."""
    rows: list[str] = []
    for title, seconds, aim in (
        (f"after {ANSWER_S * 1000:.0f} ms", ANSWER_S, "0.8"),
        ("at once", 0.0, ""),
    ):
        world.answer_after(seconds)
        rounds = [
            measure(world, "sweep", f"sweep_{number}_{int(seconds * 1000)}")
            for number in range(ROUNDS)
        ]
        rows.append(
            f"| {title} | {spread(rounds, 'ours')} | {spread(rounds, 'plain')} | "
            f"{spread(rounds, 'ratio', digits=2)} | {aim} | "
            f"{max(one['peak_mib'] for one in rounds):.0f} |"
        )
    world.answer_after(0.0)
    return SWEEP_TEXT.format(rounds=ROUNDS, table="\n".join(rows))


SWEEP_TEXT = """\
`company_news` for 500 companies, 4,000 articles, with quotas that do not bind: every call is
granted in the ledger first, every answer's rows and progress are one transaction with those that
came with it. Against plain aiohttp that asks for the same URLs, eight at a time as we do, parses
the JSON and keeps nothing. Calls/s, {rounds} rounds:

| answers come | ours, median | from, to | aiohttp | from, to | ratio | from, to | aim | peak MiB |
|---|---|---|---|---|---|---|---|---|
{table}

No provider answers at once; 20 ms would be a near one. Where answers do come at once, simulator,
Postgres and we share two cores, and most of the time goes for storing eight rows an answer: the
ratio is then far below 0.8. The peak is the sweep's process alone; one that runs as a Ray job has
about 180 MiB. Larger answers: `tests/integration/jobs/test_large_answers.py` holds a process below
250 MB, and 200 MB, plain or packed, are broken off after 8 MiB.
"""


def wide(world: World) -> str:
    """Return the section about storing."""
    rounds = repeat(world, "wide")
    return WIDE_TEXT.format(
        rounds=len(rounds),
        columns=int(rounds[0]["columns"]),
        ours=spread(rounds, "ours_s", digits=2),
        bare=spread(rounds, "bare_s", digits=2),
        ratio=spread(rounds, "ratio", digits=2),
        again=spread(rounds, "again_s", digits=2),
    )


WIDE_TEXT = """\
The widest table, {columns} columns, every one of them with a value; {rounds} rounds. The bare way
is one COPY into a temporary table and one `INSERT ... ON CONFLICT DO UPDATE`, of ready values.

| | median | from, to | aim |
|---|---|---|---|
| ours, s | {ours} | |
| bare COPY and upsert, s | {bare} | |
| ratio | {ratio} | at most 1.5 |
| ours, the same rows again (none is touched), s | {again} | |
"""


def slots(world: World) -> str:
    """Return the section about slots."""
    rounds = repeat(world, "slots")
    return SLOTS_TEXT.format(
        rounds=len(rounds),
        lost=int(sum(one["lost"] for one in rounds)),
        table="\n".join(
            f"| {title} | {spread(rounds, name, digits=2)} |"
            for title, name in (("first", "first_s"), ("median", "median_s"), ("last", "most_s"))
        ),
    )


SLOTS_TEXT = """\
The scheduler looks once a second, as its actor does, claims each slot in Postgres and hands it to a
submitter that only notes the time. {rounds} rounds of 40 jobs: **{lost} lost**, none submitted
twice. Seconds after the full minute:

| start | median | from, to |
|---|---|---|
{table}
"""

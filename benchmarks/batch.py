"""
Measure the batch jobs: the limiter, the speed of a sweep, the cost of storing, late slots.

Each measurement runs in its own process with its own database, and is repeated.
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
SPEED = "1000000"  # of the providers' clock: no quota is exhausted
PATIENCE_S = 300.0
ANSWER_S = 0.02
ROUNDS = 3

Numbers = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class BatchServers:
    """What the measurements share: Postgres, and a simulator of every provider."""

    home: Path
    postgres: PostgresServer
    control_url: str
    variables: Mapping[str, str]

    def answer_after(self, seconds: float) -> None:
        """Delay every answer of Finnhub by this time."""
        fault = {"provider": "finnhub", "fault": "slow", "seconds": seconds}
        if not seconds:
            fault = {"provider": "finnhub", "fault": "clear"}
        with urllib.request.urlopen(self.control_url, json.dumps(fault).encode()) as answer:
            answer.read()


@contextlib.contextmanager
def running() -> Iterator[BatchServers]:
    """Start the servers, and stop them."""
    with temporary_home() as home, contextlib.ExitStack() as cleanup:
        postgres = PostgresServer(home / "postgres")
        cleanup.callback(postgres.stop)
        postgres.start()
        arguments = ["-m", "ray_pipeline.simulators", "rest", "--until-stdin-ends"]
        simulator = cleanup.enter_context(started(arguments, {}, home=home))
        assert simulator.stdout is not None
        addresses = json.loads(simulator.stdout.readline())
        yield BatchServers(home, postgres, addresses["control_url"], addresses["variables"])


def repeat(servers: BatchServers, name: str, *, rounds: int = ROUNDS) -> list[Numbers]:
    """Measure several times."""
    return [measure(servers, name, f"{name}_{number}") for number in range(rounds)]


def measure(servers: BatchServers, name: str, suffix: str) -> Numbers:
    """Measure once, in a fresh database."""
    values = {
        **servers.variables,
        "PIPELINE_HOME": str(servers.home),
        "PIPELINE_POSTGRES__DSN": database(servers.postgres, f"bench_{suffix}"),
        "PIPELINE_API_KEYS": KEYS,
        "PIPELINE_JOBS__SPEED": SPEED,
    }
    with started(["-m", "benchmarks.batch_work", name], values, home=servers.home) as process:
        output, _ = process.communicate(timeout=PATIENCE_S)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, f"{sys.argv[0]} {name}")
    numbers: Numbers = json.loads(output)
    say(f"{name}: {output.strip()}")
    return numbers


def spread(rounds: Sequence[Numbers], name: str, *, digits: int = 0) -> str:
    """Return the median, the minimum and the maximum as table cells."""
    values = [numbers[name] for numbers in rounds]
    low, high = min(values), max(values)
    return f"{statistics.median(values):,.{digits}f} | {low:,.{digits}f} to {high:,.{digits}f}"


# Sections ----------------------------------------------------------------------------------------

LIMITER = "Batch: grants of the limiter"
SWEEP = "Batch: a sweep of 500 companies"
WIDE = "Batch: storing 100,000 rows"
SLOTS = "Batch: forty jobs due in one minute"
TITLES = [LIMITER, SWEEP, WIDE, SLOTS]


def limiter(servers: BatchServers) -> str:
    """Return the section about permits."""
    rounds = repeat(servers, "limiter")
    rows = [
        ("one caller, one permit per request", "one", "at least 300"),
        ("eight callers, one permit per request", "many", ""),
        ("eight callers, leases of 20", "leased", "at least 5,000"),
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
The class of the limiter actor, without Ray, grants permits for Finnhub's calls (two windows). Every
permit is a row in Postgres that is committed before the answer. {rounds} rounds of 5 s each.

| | permits/s, median | min to max | goal | p99 of a request, ms | min to max |
|---|---|---|---|---|---|
{table}

The goal for the p99 is 20 ms. Eight callers wait for each other, because the ledger answers one
request at a time.
"""


def sweep(servers: BatchServers) -> str:
    """Return the section about a sweep."""
    rows: list[str] = []
    for title, seconds, aim in (
        (f"after {ANSWER_S * 1000:.0f} ms", ANSWER_S, "0.8"),
        ("at once", 0.0, ""),
    ):
        servers.answer_after(seconds)
        rounds = [
            measure(servers, "sweep", f"sweep_{number}_{int(seconds * 1000)}")
            for number in range(ROUNDS)
        ]
        rows.append(
            f"| {title} | {spread(rounds, 'ours')} | {spread(rounds, 'plain')} | "
            f"{spread(rounds, 'ratio', digits=2)} | {aim} | "
            f"{max(numbers['peak_mib'] for numbers in rounds):.0f} |"
        )
    servers.answer_after(0.0)
    return SWEEP_TEXT.format(rounds=ROUNDS, table="\n".join(rows))


SWEEP_TEXT = """\
`company_news` for 500 companies, 4,000 articles, with quotas that are never exhausted. Every call
needs a permit from the ledger, and the rows and the progress of every answer are stored in one
transaction with those of answers that arrived at the same time. It is compared with plain aiohttp
that requests the same URLs, also eight at a time, parses the JSON and stores nothing. Calls/s,
{rounds} rounds:

| answers | pipeline, median | min, max | aiohttp | min, max | ratio | min, max | goal | peak MiB |
|---|---|---|---|---|---|---|---|---|
{table}

No provider answers at once; 20 ms would be a nearby one. If answers arrive at once, simulator,
Postgres and pipeline compete for two cores, and storing eight rows per answer takes most of the
time, so the ratio is far below 0.8. The peak is that of the sweep's process; a process that runs as
a Ray job needs about 180 MiB. For large answers, `tests/integration/batch/test_large_answers.py`
shows that a process stays below 250 MB, and that an answer of 200 MB, compressed or not, is refused
after 8 MiB.
"""


def wide(servers: BatchServers) -> str:
    """Return the section about storing."""
    rounds = repeat(servers, "wide")
    return WIDE_TEXT.format(
        rounds=len(rounds),
        columns=int(rounds[0]["columns"]),
        ours=spread(rounds, "ours_s", digits=2),
        bare=spread(rounds, "bare_s", digits=2),
        ratio=spread(rounds, "ratio", digits=2),
        again=spread(rounds, "again_s", digits=2),
    )


WIDE_TEXT = """\
The widest table with {columns} columns, each with a value; {rounds} rounds. The comparison is one
COPY into a temporary table and one `INSERT ... ON CONFLICT DO UPDATE` of prepared values.

| | median | min to max | goal |
|---|---|---|---|
| pipeline, s | {ours} | |
| bare COPY and upsert, s | {bare} | |
| ratio | {ratio} | at most 1.5 |
| pipeline, the same rows again (no row changes), s | {again} | |
"""


def slots(servers: BatchServers) -> str:
    """Return the section about slots."""
    rounds = repeat(servers, "slots")
    return SLOTS_TEXT.format(
        rounds=len(rounds),
        lost=int(sum(numbers["lost"] for numbers in rounds)),
        table="\n".join(
            f"| {title} | {spread(rounds, name, digits=2)} |"
            for title, name in (("first", "first_s"), ("median", "median_s"), ("last", "most_s"))
        ),
    )


SLOTS_TEXT = """\
The scheduler checks the slots once per second, as its actor does, claims each due slot in Postgres
and passes it to a submitter that only records the time. {rounds} rounds of 40 jobs: **{lost}
lost**, no job submitted twice. Seconds after the full minute:

| start | median | min to max |
|---|---|---|
{table}
"""

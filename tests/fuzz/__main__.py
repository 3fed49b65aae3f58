"""
Fuzz every job and feed for as long as wanted, and print a table of what happened.

The cases of a seed are always the same, in the same order, so a violation can be repeated:
`make fuzz ARGS="--seed 7 --only company_news --case 12"`. Ctrl-C prints the table so far.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from ray_pipeline.local.servers import PostgresServer
from ray_pipeline.storage.migrations import migrate
from tests.fuzz.case import Case, unexpected
from tests.fuzz.corpus import copied_database, feed_fuzzer, job_fuzzer
from tests.fuzz.feed_fuzz import feed_names
from tests.fuzz.job_fuzz import datasets, fill_inputs

CASES_AT_A_TIME = 20  # of one dataset, before the next one
TEMPLATE = "fuzz_inputs"
FEED = "feed:"  # before the name of a feed, because a job may have the same name
STATES = ("succeeded", "nothing_new", "failed", "refused", "deferred", "stored", "exception")


def main() -> int:
    """Run until the time is over or Ctrl-C; return 1 if a promise was broken."""
    options = _options()
    cases: list[Case] = []
    console = Console(width=None if sys.stdout.isatty() else 150)
    try:
        with tempfile.TemporaryDirectory(prefix="ray-pipeline-fuzz-") as folder:
            server = PostgresServer(Path(folder) / "postgres", durable=False)
            server.start()
            try:
                asyncio.run(_fuzz(server, options, cases, console))
            finally:
                server.stop()
    except KeyboardInterrupt:
        console.print("interrupted")
    console.print(_table(cases))
    broken = sum(bool(unexpected(case)) for case in cases)
    console.print(f"seed {options.seed}: {len(cases)} cases, {broken} with a broken promise")
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long; default 1")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the time")
    parser.add_argument("--only", action="append", help="a job, or feed:NAME; may be repeated")
    parser.add_argument("--case", type=int, help="run one case of each dataset only")
    return parser.parse_args()


async def _fuzz(
    server: PostgresServer, options: argparse.Namespace, cases: list[Case], console: Console
) -> None:
    with psycopg.connect(server.database("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}".encode())
    dsn = server.database(TEMPLATE)
    await migrate(dsn)
    await fill_inputs(dsn)
    names = [*(FEED + name for name in feed_names()), *datasets()]
    names = [name for name in names if name in (options.only or [name])]
    ends_s = time.monotonic() + 60 * options.minutes
    first = 0
    while True:
        numbers = range(first, first + CASES_AT_A_TIME)
        for name in names:
            with copied_database(server, TEMPLATE) as copy:
                chosen = numbers if options.case is None else [options.case]
                await _some_cases(name, copy, chosen, options.seed, ends_s, cases, console)
            if time.monotonic() > ends_s:
                return
        if options.case is not None:
            return
        first += CASES_AT_A_TIME


async def _some_cases(
    name: str,
    dsn: str,
    numbers: Sequence[int],
    seed: int,
    ends_s: float,
    cases: list[Case],
    console: Console,
) -> None:
    async with AsyncExitStack() as stack:
        if not name.startswith(FEED):
            fuzzer = await stack.enter_async_context(job_fuzzer(name, dsn))
            baseline = await fuzzer.baseline()
        for number in numbers:
            if time.monotonic() > ends_s:
                return
            if not name.startswith(FEED):
                case = await fuzzer.case(baseline, seed=seed, number=number)
            else:
                feed = feed_fuzzer(name.removeprefix(FEED), dsn)
                case = replace(await feed.case(seed=seed, number=number), dataset=name)
            cases.append(case)
            for violation in unexpected(case):
                console.print(
                    f"{name} --seed {seed} --case {number} ({case.mutation}): {violation}",
                    markup=False,
                )


def _table(cases: Sequence[Case]) -> Table:
    table = Table("dataset", "cases", "mutations", *STATES, "violations")
    for name in dict.fromkeys(case.dataset for case in cases):
        own = [case for case in cases if case.dataset == name]
        states = Counter(case.state for case in own)
        table.add_row(
            name,
            str(len(own)),
            str(len({case.mutation for case in own})),
            *(str(states[state] or "") for state in STATES),
            str(sum(len(unexpected(case)) for case in own) or ""),
        )
    return table


if __name__ == "__main__":
    sys.exit(main())

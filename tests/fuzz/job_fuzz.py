"""
Run a job against a provider that sends one mutated answer, and check what every run promises.

The run is the real one: clients over sockets, the ledger, the runner, and Postgres. One request of
the job is answered with a mutation; every other request is answered as it should be.
"""

import asyncio
import itertools
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import psycopg
from aiohttp import web

from ray_pipeline.batch.outcome import Outcome
from ray_pipeline.catalog import all_jobs, job
from ray_pipeline.jobs.spec import JobSpec, Request, Source
from ray_pipeline.providers.registry import all_providers
from ray_pipeline.services.job_run import collect
from ray_pipeline.settings import Settings, load
from ray_pipeline.simulators.rest import RestOptions
from ray_pipeline.storage.provider_clients import Clients
from tests.fuzz.case import Case
from tests.fuzz.mutations import MUTATIONS, Original, Sent
from tests.fuzz.promises import (
    GREEN,
    SECRET,
    Connection,
    Finished,
    States,
    read_states,
    violations,
)
from tests.fuzz.provider import MutatingProvider, NotingFetcher, Signature
from tests.fuzz.recorded_input import RecordedAnswer

SLOT = datetime(2026, 11, 2, 6, tzinfo=UTC)
ITEMS = 3  # of each job
RUN_LIMIT_S = 30.0
LARGEST_FOREIGN_BYTES = 300_000
KEYS = {
    provider.name: [f"{SECRET}-{provider.name}:{SECRET}-password"]
    if provider.auth == "login"
    else [f"{SECRET}-{provider.name}-1"]
    for provider in all_providers()
    if provider.auth != "none"
}
# What a run leaves behind besides the rows of its job.
LEFT = ("job_runs", "job_items", "job_batches", "payloads", "findings", "dead_letters")
LEFT += ("answer_sizes",)
LEFT += ("quota_keys", "quota_grants", "quota_counters")
# The answer of a provider is not part of this corpus, and a job without it has no requests.
EVENTS = """
    INSERT INTO earnings_calendar (symbol, report_date)
    SELECT symbol, DATE '2026-11-04' FROM sp500_companies
    ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A run of a job with the usual answers: its requests, and the items that they belong to."""

    answers: Mapping[Signature, web.Response]
    items: Mapping[Signature, frozenset[str]]
    requests: Mapping[Signature, Request]
    states: States


class LogLines(logging.Handler):
    """Keeps the texts of all log records."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.lines.append(self.format(record))

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Keep the records of all loggers for the duration of a block."""
        root = logging.getLogger()
        level = root.level
        root.addHandler(self)
        root.setLevel(logging.INFO)
        try:
            yield
        finally:
            root.removeHandler(self)
            root.setLevel(level)


@dataclass
class JobFuzzer:
    """
    Fuzzes one job on a database of its own.

    Attributes:
        spec: The job.
        settings: They send all calls to the provider.
        provider: The fake provider.
        recorded: The recorded answers of the job's providers.
        foreign: Bodies that belong to other endpoints.
        logged: Receives the log.
    """

    spec: JobSpec
    settings: Settings
    provider: MutatingProvider
    recorded: Sequence[RecordedAnswer]
    foreign: Sequence[bytes]
    logged: LogLines

    async def baseline(self) -> Baseline:
        """
        Run the job with the usual answers: recorded ones, if the run is green with them.

        Raises:
            Exception: If the run raises it.
            AssertionError: If the run is not green with generated answers either.
        """
        self.provider.bodies.clear()
        outcome, fetcher = await self._run()
        if isinstance(outcome, Outcome) and outcome.state not in GREEN:
            self.provider.generate_all()
            outcome, fetcher = await self._run()
        if isinstance(outcome, Exception):
            raise outcome
        assert outcome.state in GREEN, f"{self.spec.name}: {outcome.state}: {outcome.why}"
        with self._connect() as connection:
            states = read_states(connection)
        items = {request: frozenset(names) for request, names in fetcher.items.items()}
        return Baseline(dict(self.provider.bodies), items, fetcher.requests, states)

    async def case(self, baseline: Baseline, *, seed: int, number: int) -> Case:
        """Run the job with one mutated answer; the same seed and number repeat the case."""
        random = Random(f"{seed} {self.spec.name} {number}")
        target = random.choice(sorted(baseline.items, key=repr))
        original = self._original(baseline, target, seed=seed, number=number)
        name, sent = self._mutated(original, random, seed=seed, number=number)
        self.provider.target, self.provider.sent = target, sent
        try:
            outcome, _ = await self._run()
        finally:
            self.provider.sent = None
        run = Finished(
            self.spec,
            target,
            baseline.requests[target],
            baseline.items[target],
            outcome,
            Counter(self.provider.received),
            tuple(self.logged.lines),
            baseline.states,
        )
        with self._connect() as connection:
            broken = tuple(violations(run, connection))
        if isinstance(outcome, Exception):
            return Case(self.spec.name, name, number, "exception", broken, repr(outcome)[:300])
        return Case(self.spec.name, name, number, outcome.state, broken, outcome.why)

    def _original(
        self, baseline: Baseline, target: Signature, *, seed: int, number: int
    ) -> Original:
        """
        Return the answer to mutate: in turn the usual one, and one that was recorded.

        Each recorded answer of the provider comes once before any is repeated.
        """
        key = KEYS.get(target.provider, [""])[0]
        recorded = [answer for answer in self.recorded if answer.provider == target.provider]
        if number % 2 and recorded:
            order = Random(f"{seed} {self.spec.name} recorded").sample(recorded, len(recorded))
            answer = order[number // 2 % len(order)]
            body, status = answer.read(), answer.status
            return Original(body, answer.content_type, self.foreign, key, status)
        usual = baseline.answers[target]
        assert isinstance(usual.body, bytes)
        return Original(usual.body, usual.headers["Content-Type"], self.foreign, key)

    def _mutated(
        self, original: Original, random: Random, *, seed: int, number: int
    ) -> tuple[str, Sent]:
        """Return the mutation of a case: each one once before any is repeated, if it fits."""
        names = Random(f"{seed} {self.spec.name}").sample(sorted(MUTATIONS), len(MUTATIONS))
        for shift in range(len(names)):
            name = names[(number + shift) % len(names)]
            sent = MUTATIONS[name](original, random)
            if sent is not None:
                # A recorded refusal stays one, unless the mutation is a refusal itself.
                return name, replace(sent, status=original.status) if sent.status == 200 else sent
        raise AssertionError("no mutation fits")

    async def _run(self) -> tuple[Outcome | Exception, NotingFetcher]:
        self.provider.received.clear()
        self.logged.lines.clear()
        self._reset()
        async with Clients(self.settings.rest_urls()) as clients:
            fetcher = NotingFetcher(clients)
            try:
                async with asyncio.timeout(RUN_LIMIT_S):
                    return await collect(self.settings, self.spec, SLOT, fetcher=fetcher), fetcher
            except Exception as error:
                return error, fetcher

    def _reset(self) -> None:
        tables = (*LEFT, *(table.name for table in self.spec.tables))
        with self._connect() as connection, connection.transaction():
            for table in dict.fromkeys(tables):
                connection.execute(f"DELETE FROM {table}".encode())

    def _connect(self) -> Connection:
        return psycopg.connect(self.settings.postgres_dsn(), autocommit=True)


def datasets() -> list[str]:
    """Return the names of the jobs that call a provider."""
    return [spec.name for spec in all_jobs() if spec.sources]


def limited(spec: JobSpec) -> JobSpec:
    """Return the job with the first few items of each source."""

    def with_few(source: Source) -> Source:
        return replace(source, plan=lambda run: itertools.islice(source.plan(run), ITEMS))

    return replace(spec, sources=tuple(map(with_few, spec.sources)))


def foreign_bodies(payloads: Path) -> list[bytes]:
    """Return recorded bodies of every provider; two documents if there are no recordings."""
    if not payloads.exists():
        return [
            b'{"data": [{"id": "1", "text": "x"}], "meta": {"result_count": 1}}',
            b'[{"id": 5}]',
        ]
    files = sorted(
        file
        for file in payloads.rglob("*")
        if file.suffix in {".json", ".csv", ".html"} and "ticks" not in file.parts
    )
    bodies = [file.read_bytes() for file in files]
    return [body for body in bodies if len(body) <= LARGEST_FOREIGN_BYTES]


def fuzz_settings(dsn: str, provider: MutatingProvider) -> Settings:
    """Return settings that send all calls to the fake provider, without its pauses."""
    variables = provider.variables | {
        "PIPELINE_POSTGRES__DSN": dsn,
        "PIPELINE_API_KEYS": json.dumps(KEYS),
        "PIPELINE_JOBS__SPEED": "1000000",
        "PIPELINE_JOBS__LONGEST_WAIT_S": "0.5",
    }
    os.environ.update(variables)
    try:
        return load()
    finally:
        for name in variables:
            del os.environ[name]


async def fill_inputs(dsn: str) -> None:
    """Fill the tables from which the jobs' requests are made, by running every job once."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO sp500_companies (symbol, company_name) "
            "SELECT 'S' || n, 'Company ' || n FROM generate_series(1, 3) AS n"
        )
        async with MutatingProvider(RestOptions()) as provider:
            settings = fuzz_settings(dsn, provider)
            for spec in _in_order():
                if "sp500_companies" not in {table.name for table in spec.tables}:
                    await collect(settings, limited(spec), SLOT)
        connection.execute(EVENTS)


def _in_order() -> list[JobSpec]:
    """Return all jobs; each follows the jobs that fill its inputs."""
    ordered: dict[str, JobSpec] = {}

    def add(spec: JobSpec) -> None:
        if spec.name not in ordered:
            for name in spec.depends:
                add(job(name))
            ordered[spec.name] = spec

    for spec in all_jobs():
        add(spec)
    return list(ordered.values())

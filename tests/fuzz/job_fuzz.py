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
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from aiohttp import web

from ray_pipeline.batch.outcome import Outcome
from ray_pipeline.catalog import all_jobs, job
from ray_pipeline.jobs.spec import JobSpec, Request, Source
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.registry import all_providers
from ray_pipeline.services.job_run import collect
from ray_pipeline.settings import Settings, load
from ray_pipeline.simulators.rest import RestOptions, RestSimulator
from ray_pipeline.storage.provider_clients import Clients
from ray_pipeline.transport.answer import Answer
from tests.fuzz.mutations import MUTATIONS, Original, Sent

SLOT = datetime(2026, 11, 2, 6, tzinfo=UTC)
ITEMS = 3  # of each job
SECRET = "SECRET"
RUN_LIMIT_S = 30.0
GREEN = frozenset({"succeeded", "nothing_new"})
KEYS = {
    provider.name: [f"{SECRET}-{provider.name}:{SECRET}-password"]
    if provider.auth == "login"
    else [f"{SECRET}-{provider.name}-1"]
    for provider in all_providers()
    if provider.auth != "none"
}
TEXTS = ("job_runs", "job_items", "quota_keys", "quota_grants", "payloads", "findings")
RESET = ("job_runs", "job_items", "quota_keys", "quota_grants", "quota_counters", "payloads")
RESET += ("findings", "dead_letters", "job_batches")


@dataclass(frozen=True, slots=True)
class Signature:
    """What distinguishes a request: provider, path and query, without the key."""

    provider: str
    path: str
    query: tuple[tuple[str, str], ...]


def signature(provider: Provider, path: str, query: Mapping[str, str]) -> Signature:
    """Return the signature of a request."""
    shown = tuple(sorted(item for item in query.items() if item[0] != provider.auth_name))
    return Signature(provider.name, path, shown)


class MutatingProvider(RestSimulator):
    """
    Every provider; the answer to one request is a mutation.

    Attributes:
        target: The request.
        sent: Its answer; None: the simulated one.
        bodies: The simulated answers since the last reset, by request.
    """

    def __init__(self, options: RestOptions) -> None:
        super().__init__(options)
        self.target: Signature | None = None
        self.sent: Sent | None = None
        self.bodies: dict[Signature, web.Response] = {}

    async def _answer(self, provider: Provider, request: web.Request) -> web.StreamResponse:
        response = await super()._answer(provider, request)
        path = "/" + request.match_info["path"]
        asked = signature(provider, path, dict(request.query))
        if isinstance(response, web.Response):
            self.bodies[asked] = response
        if self.sent is None or asked != self.target:
            return response
        headers = {**self.sent.headers, "Content-Type": self.sent.content_type}
        return web.Response(body=self.sent.body, status=self.sent.status, headers=headers)

    def received(self) -> Counter[str]:
        """Return how many calls each provider received."""
        calls = {name: stats.calls for name, stats in self.stats.items() if stats.calls}
        return Counter(calls)


@dataclass
class NotingFetcher:
    """The real clients; notes which item each request belongs to."""

    clients: Clients
    items: dict[Signature, str] = field(default_factory=dict)

    async def fetch(
        self, provider: Provider, request: Request, *, key: str, largest_bytes: int
    ) -> Answer:
        asked = signature(provider, request.path, request.params)
        self.items.setdefault(asked, request.item)
        return await self.clients.fetch(provider, request, key=key, largest_bytes=largest_bytes)


@dataclass(frozen=True, slots=True)
class Baseline:
    """A run of the job with the answers as they should be."""

    bodies: Mapping[Signature, web.Response]
    items: Mapping[Signature, str]
    states: Mapping[tuple[str, str], tuple[str, int]]  # source and item: state and rows


@dataclass(frozen=True, slots=True)
class Case:
    """One run with one mutated answer."""

    dataset: str
    mutation: str
    number: int
    state: str
    violations: tuple[str, ...]
    why: str = ""


def limited(spec: JobSpec) -> JobSpec:
    """Return the job with the first few items of each source."""

    def few(source: Source) -> Source:
        return replace(source, plan=lambda run: itertools.islice(source.plan(run), ITEMS))

    return replace(spec, sources=tuple(map(few, spec.sources)))


def datasets() -> list[str]:
    """Return the names of the jobs that call a provider."""
    return [spec.name for spec in all_jobs() if spec.sources]


@dataclass
class JobFuzzer:
    """Fuzzes jobs on one database each, which the caller provides."""

    settings: Settings
    provider: MutatingProvider
    foreign: Sequence[bytes]
    logged: "LogLines"

    async def baseline(self, spec: JobSpec) -> Baseline:
        """Run the job with correct answers."""
        self.provider.bodies.clear()
        self._reset(spec)
        fetcher = await self._run(spec, None)
        if isinstance(fetcher, Exception):
            raise fetcher
        return Baseline(dict(self.provider.bodies), dict(fetcher[1].items), self._states())

    async def case(self, spec: JobSpec, baseline: Baseline, *, seed: int, number: int) -> Case:
        """Run the job with one mutated answer; the same seed and number repeat the case."""
        random = Random(f"{seed} {spec.name} {number}")
        target = random.choice(sorted(baseline.items, key=repr))
        response = baseline.bodies[target]
        keys = KEYS.get(target.provider, [""])
        original = Original(
            bytes(response.body), response.headers["Content-Type"], self.foreign, keys[0]
        )
        names = list(MUTATIONS)
        sent = None
        while sent is None:
            name = random.choice(names)
            sent = MUTATIONS[name](original, random)
        return await self._case(spec, baseline, target, sent, name=name, number=number)

    async def _case(
        self,
        spec: JobSpec,
        baseline: Baseline,
        target: Signature,
        sent: Sent,
        *,
        name: str,
        number: int,
    ) -> Case:
        self._reset(spec)
        self.provider.target, self.provider.sent = target, sent
        try:
            result = await self._run(spec, target)
        finally:
            self.provider.sent = None
        violations = list(self._violations(spec, baseline, target, result))
        state = "exception" if isinstance(result, Exception) else result[0].state
        why = repr(result)[:300] if isinstance(result, Exception) else result[0].why
        return Case(spec.name, name, number, state, tuple(violations), why)

    async def _run(
        self, spec: JobSpec, _target: Signature | None
    ) -> tuple[Outcome, NotingFetcher] | Exception:
        for stats in self.provider.stats.values():
            stats.calls = 0
        self.logged.lines.clear()
        async with Clients(self.settings.rest_urls()) as clients:
            fetcher = NotingFetcher(clients)
            try:
                async with asyncio.timeout(RUN_LIMIT_S):
                    return await collect(self.settings, spec, SLOT, fetcher=fetcher), fetcher
            except Exception as error:
                return error

    # What every run promises ---------------------------------------------------------------------

    def _violations(
        self,
        spec: JobSpec,
        baseline: Baseline,
        target: Signature,
        result: tuple[Outcome, NotingFetcher] | Exception,
    ) -> Iterator[str]:
        item = baseline.items[target]
        if isinstance(result, Exception):
            yield f"uncaught {type(result).__name__}: {str(result)[:200]}"
        else:
            yield from self._green(spec, result[0], target, item)
            yield from self._counted(result[0])
        yield from self._others(baseline, target, item)
        yield from self._secrets(result)

    def _green(
        self, spec: JobSpec, outcome: Outcome, target: Signature, item: str
    ) -> Iterator[str]:
        """A green run stored rows for every item, or its source says that empty means empty."""
        if outcome.state not in GREEN:
            return
        sources = {source.provider.name: source for source in spec.sources}
        for (source, name), (state, rows) in self._states().items():
            if name != item or source != target.provider:
                continue
            if state == "done" and rows == 0:
                yield "green, the item is done, without a row"
            if state == "empty" and not sources[source].empty:
                yield "green with an empty answer, although the dataset is never empty"
            if state in {"failed", "not_found"} and spec.refresh is None:
                yield f"green, but the item is {state}"
        if len(self._states()) == 1 and not self._rows(spec):
            state = next(iter(self._states().values()))[0]
            if not (state == "empty" and sources[target.provider].empty):
                yield f"green without a stored row; the item is {state}"

    def _others(self, baseline: Baseline, target: Signature, item: str) -> Iterator[str]:
        """Every other item of the source ended as without the mutation."""
        states = self._states()
        for (source, name), expected in baseline.states.items():
            if source == target.provider and name != item:
                actual = states.get((source, name))
                if actual != expected:
                    yield f"item {name!r}: {actual}, without the mutation {expected}"

    def _secrets(self, result: object) -> Iterator[str]:
        texts = [repr(result), *self.logged.lines]
        with self._connect() as connection:
            for table in TEXTS:
                texts += [row[0] for row in connection.execute(f"SELECT t::text FROM {table} t")]
            rows = connection.execute("SELECT key, payload, detail FROM dead_letters")
            texts += [repr(row) for row in rows]
        for text in texts:
            if SECRET in text:
                at = text.index(SECRET)
                yield f"a key in: {text[max(0, at - 60) : at + 30]!r}"
                return

    def _counted(self, outcome: Outcome) -> Iterator[str]:
        received = self.provider.received()
        total = sum(received.values())
        with self._connect() as connection:
            granted = Counter(
                dict(
                    connection.execute(
                        "SELECT provider, sum(calls)::integer FROM quota_grants GROUP BY 1"
                    ).fetchall()
                )
            )
            (calls,) = connection.execute("SELECT sum(calls)::integer FROM job_runs").fetchone()
        for name in sorted({*received, *granted}):
            provider = next(one for one in all_providers() if one.name == name)
            if provider.quota.windows and received[name] != granted[name]:
                yield f"{name} received {received[name]} calls, {granted[name]} were permitted"
        if outcome.calls != total:
            yield f"the outcome counts {outcome.calls} calls of {total}"
        if calls != total:
            yield f"job_runs counts {calls} calls of {total}"

    # The database --------------------------------------------------------------------------------

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.settings.postgres_dsn(), autocommit=True)

    def _reset(self, spec: JobSpec) -> None:
        tables = [*RESET, *(table.name for table in spec.tables)]
        with self._connect() as connection, connection.transaction():
            for table in dict.fromkeys(tables):
                connection.execute(f"DELETE FROM {table}")

    def _states(self) -> dict[tuple[str, str], tuple[str, int]]:
        with self._connect() as connection:
            rows = connection.execute("SELECT source, item, state, rows FROM job_items").fetchall()
        return {(source, item): (state, count) for source, item, state, count in rows}

    def _rows(self, spec: JobSpec) -> int:
        with self._connect() as connection:
            return sum(
                connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0]
                for table in spec.tables
            )


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
def logging_to(lines: LogLines) -> Iterator[None]:
    """Send all logs to `lines` for the duration of a block."""
    root = logging.getLogger()
    level = root.level
    root.addHandler(lines)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(lines)
        root.setLevel(level)


def foreign_bodies(payloads: Path) -> list[bytes]:
    """Return recorded bodies of every provider; a few documents if there are no recordings."""
    if not payloads.exists():
        return [
            b'{"data": [{"id": "1", "text": "x"}], "meta": {"result_count": 1}}',
            b'[{"id": 5}]',
        ]
    files = sorted(
        file
        for file in payloads.rglob("*")
        if file.suffix in {".json", ".csv", ".html"}
        and "ticks" not in file.parts
        and file.stat().st_size < 300_000
    )
    return [file.read_bytes() for file in files]


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


async def prepare(dsn: str) -> None:
    """Fill the tables from which the jobs' inputs come, by running every job once."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO sp500_companies (symbol, company_name) "
            "SELECT 'S' || n, 'Company ' || n FROM generate_series(1, 3) AS n"
        )
    async with MutatingProvider(RestOptions()) as provider:
        settings = fuzz_settings(dsn, provider)
        for spec in in_order(all_jobs()):
            if "sp500_companies" not in {table.name for table in spec.tables}:
                await collect(settings, limited(spec), SLOT)


def in_order(specs: Sequence[JobSpec]) -> list[JobSpec]:
    """Return jobs so that each follows the jobs that fill its inputs."""
    ordered: dict[str, JobSpec] = {}

    def add(spec: JobSpec) -> None:
        if spec.name not in ordered:
            for name in spec.depends:
                add(job(name))
            ordered[spec.name] = spec

    for spec in specs:
        add(spec)
    return list(ordered.values())

"""A run without I/O: fakes of the ports, and a small job to run on them."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from ray_pipeline.batch.call_count import CallCount
from ray_pipeline.batch.permits import NotBefore, Pause, Permit
from ray_pipeline.batch.progress import ItemProgress
from ray_pipeline.batch.results import Collected, RowCounts, Saved
from ray_pipeline.batch.run_ports import Dependencies
from ray_pipeline.jobs.spec import VARIES, Empty, JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Table
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import SECOND, Quota, Window
from ray_pipeline.providers.refusals import Refusal, Verdict
from ray_pipeline.redact import fingerprint
from ray_pipeline.schedules.cron import Cron
from ray_pipeline.transport.answer import Answer
from ray_pipeline.transport.counted import NextCall

NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
KEY = "SECRET-key"
PLENTY = Quota((Window(1000, SECOND),))
SCARCE = Quota((Window(25, reset="day"),))


@dataclass(frozen=True, slots=True)
class Price:
    """A row of the tests."""

    symbol: str
    price: int


def classify(answer: Answer) -> Verdict | None:
    """Recognise refusals in the body, as several providers send them with HTTP 200."""
    if answer.text.startswith("refuse:"):
        _, kind, message = answer.text.split(":", 2)
        return Verdict(Refusal(kind), message)
    return None


def provider(name: str, quota: Quota = PLENTY, *, needs_key: bool = True) -> Provider:
    """Return a provider of the tests."""
    return Provider(
        name, name.capitalize(), f"https://{name}", quota, classify=classify, needs_key=needs_key
    )


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """[5, 6]: prices of the request's item."""
    yield from each(body, lambda price: Price(request.item, int(price)))


def source(
    name: str,
    *items: str,
    quota: Quota = PLENTY,
    empty: Empty = Empty.NORMAL,
    least: float = VARIES,
) -> Source:
    """Return a source that requests these items."""
    plan = tuple(Request(item, f"/{item}") for item in items)
    return Source(provider(name, quota), lambda _run: plan, parse, empty=empty, least=least)


def job(*sources: Source, **options) -> JobSpec:
    """Return a job of these sources."""
    tables = (Table("prices", Price, key=("symbol",)),)
    return JobSpec("prices", "Prices", tables, Cron("0 6 * * *"), sources=sources, **options)


RUN = Run("prices", NOW, NOW)


@dataclass
class FakeFetcher:
    """Gives each request the next of its prepared answers; the last one is repeated."""

    answers: dict[str, list[str | Exception]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)  # provider and item, in order
    keys: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    async def fetch(
        self,
        provider: Provider,
        request: Request,
        *,
        key: str,
        largest_bytes: int,
        next_call: NextCall,
    ) -> Answer:
        async with next_call():
            return await self._answer(provider, request, key, largest_bytes)

    async def _answer(
        self, provider: Provider, request: Request, key: str, largest_bytes: int
    ) -> Answer:
        await asyncio.sleep(0)
        self.calls.append((provider.name, request.item))
        self.keys.append(key)
        self.sizes.append(largest_bytes)
        name = f"{provider.name} {request.item}"
        prepared = self.answers.get(name, self.answers.get(request.item, [json.dumps([1])]))
        answer = prepared.pop(0) if len(prepared) > 1 else prepared[0]
        if isinstance(answer, Exception):
            raise answer
        return Answer(200, {}, answer, NOW)


@dataclass
class FakeLimiter:
    """Permits every call of one key, unless other answers are prepared."""

    answers: list[NotBefore] = field(default_factory=list)
    permitted: int = 0
    requests: list[tuple[str, bool]] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    cooldowns: list[tuple[str, Pause, str]] = field(default_factory=list)

    async def acquire(
        self, provider: str, *, job: str, sweep: bool, calls: int = 1, key: str | None = None
    ) -> Permit | NotBefore:
        self.requests.append((job, sweep))
        if self.answers:
            return self.answers.pop(0)
        self.permitted += calls
        ids = range(self.permitted - calls, self.permitted)
        return Permit(fingerprint(KEY), calls, ids=tuple(ids))

    async def finished(self, ids: Sequence[int]) -> None:
        self.answered += ids

    async def cooldown(
        self, provider: str, key: str, *, pause: Pause, reason: str
    ) -> datetime | None:
        self.cooldowns.append((provider, pause, reason))
        return NOW + pause if isinstance(pause, timedelta) else None


@dataclass
class FakeStore:
    """Keeps results in memory."""

    progress: dict[str, ItemProgress] = field(default_factory=dict)
    transactions: list[list[Collected]] = field(default_factory=list)
    pruned: int = 0
    announced: list[tuple[int, list[str]]] = field(default_factory=list)
    sizes: dict[tuple[str, int], int] = field(default_factory=dict)
    reopened: list[str] = field(default_factory=list)

    async def items(self, source: str) -> dict[str, ItemProgress]:
        return self.progress

    async def answer_sizes(self, source: str) -> dict[tuple[str, int], int]:
        return self.sizes

    async def reopen(self, source: str, items: Sequence[str]) -> None:
        self.reopened += items

    async def save(self, source: str, results: Sequence[Collected]) -> Saved:
        await asyncio.sleep(0)
        self.transactions.append(list(results))
        rows = sum(len(result.rows) for result in results)
        parked = sum(len(result.bad) for result in results)
        return Saved(tuple(results), RowCounts(seen=rows, new=rows, parked=parked))

    async def prune(self) -> int:
        self.pruned += 1
        return 0

    async def planned(self, items: int, sources: Sequence[str]) -> None:
        self.announced.append((items, list(sources)))

    @property
    def results(self) -> list[Collected]:
        """Every result, in the order of storing."""
        return [result for transaction in self.transactions for result in transaction]

    def states(self) -> dict[str, str]:
        """Return the last state of each item."""
        return {result.request.item: result.state for result in self.results}


class FakeClock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = NOW
        self.slept: list[float] = []

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)
        await asyncio.sleep(0)


@dataclass
class FakePorts:
    """All of them, as one run uses them."""

    store: FakeStore = field(default_factory=FakeStore)
    limiter: FakeLimiter = field(default_factory=FakeLimiter)
    fetcher: FakeFetcher = field(default_factory=FakeFetcher)
    clock: FakeClock = field(default_factory=FakeClock)
    calls: CallCount = field(default_factory=CallCount)
    keys: dict[str, list[str]] = field(default_factory=lambda: {"first": [KEY], "second": [KEY]})

    def dependencies(self) -> Dependencies:
        """Return them as a run takes them."""
        return Dependencies(
            store=self.store,
            limiter=self.limiter,
            fetcher=self.fetcher,
            keys=self.keys,
            clock=self.clock,
            calls=self.calls,
            sleep=self.clock.sleep,
            random=Random(1),
        )

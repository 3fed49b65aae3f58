"""
One run of a batch job: ask what is due, within every quota, and store each answer at once.

An item's rows and its progress are one transaction, so a run that is killed anywhere goes on with
the item that was in flight. Nothing is kept for the end.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Protocol

from ray_pipeline.batch.outcome import Outcome, judge
from ray_pipeline.batch.permits import Limiter, NotBefore, Permit, PermitBatcher
from ray_pipeline.batch.progress import Item, pending
from ray_pipeline.batch.responses import Reading, collected, read, refused
from ray_pipeline.batch.results import Collected, Counts
from ray_pipeline.errors import (
    AnswerTooLarge,
    PipelineError,
    ProviderUnavailable,
    RedirectRefused,
)
from ray_pipeline.jobs.spec import JobSpec, Request, Run, Source
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.refusals import Refusal, Verdict
from ray_pipeline.redact import fingerprint, redactor
from ray_pipeline.transport.answer import Answer

log = logging.getLogger(__name__)

ATTEMPTS = 4  # for one item, where the provider is ill or the way is bad
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
LONGEST_WAIT_S = 90.0  # for a quota; what takes longer is left to another run
RATE_PAUSE_S = 60.0  # after a 429 that does not say how long
BLOCKED_PAUSE = timedelta(hours=1)
SICK_LIMIT = 5  # items in a row that an ill provider did not give: the rest would not be either
CONCURRENCY = 8  # where calls are plenty
SAVED_TOGETHER = 16  # answers in one transaction
TOGETHER_S = 0.02  # how long the first of them waits for others, while more are asked for
# An answer and its rows take up to eight times its size, and the largest recorded one has 0.3 MB.
LARGEST_BYTES = 8 * 2**20
# Up to 40 answers are in memory where several are asked for at once: a larger one is asked for
# again when it is alone, which is what keeps a run below 250 MB.
SMALL_BYTES = 2**19
STALE_QUOTA = timedelta(hours=6)

Batches = AsyncGenerator[list[Collected], None]


class Fetcher(Protocol):
    """Makes calls."""

    async def fetch(
        self, provider: Provider, request: Request, *, key: str, largest_bytes: int
    ) -> Answer:
        """Make one call and return the answer, whatever its status, if it is not too large."""


class Store(Protocol):
    """Keeps rows and progress."""

    async def items(self, source: str) -> dict[str, Item]:
        """Return what is known of the items."""

    async def save(self, source: str, results: Sequence[Collected]) -> Counts:
        """Store rows and progress: all or nothing."""

    async def prune(self) -> int:
        """Remove what the source no longer has."""

    async def planned(self, items: int, sources: Sequence[str]) -> None:
        """Say how much there is to do."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """
    What a run depends on.

    Attributes:
        store, limiter, fetcher: The ports.
        keys: Every provider's keys, as they are.
        clock: The time, UTC.
        sleep: Waits for seconds.
        random: For jitter.
        progress: Told after every transaction: items done, and planned.
        speed: How much faster than the real one the providers' clock runs, in a demo.
    """

    store: Store
    limiter: Limiter
    fetcher: Fetcher
    keys: Mapping[str, Sequence[str]]
    clock: Callable[[], datetime]
    sleep: Callable[[float], "asyncio.Future[None]"] = field(default=asyncio.sleep)  # type: ignore[assignment]
    random: Random = field(default_factory=Random)
    progress: Callable[[Outcome], None] = lambda _outcome: None
    longest_wait_s: float = LONGEST_WAIT_S
    speed: float = 1.0


class Deferred(Exception):
    """The run cannot go on before a moment; None: before somebody changes something."""

    def __init__(self, until: datetime | None, reason: str) -> None:
        super().__init__(reason)
        self.until = until
        self.reason = reason


class CircuitOpen(Exception):
    """The provider gives nothing any more."""


def usable_sources(spec: JobSpec, keys: Mapping[str, Sequence[str]]) -> list[Source]:
    """Return the sources that have a key or need none, in the order of preference."""
    return [
        source
        for source in spec.sources
        if not source.provider.needs_key or keys.get(source.provider.name)
    ]


async def run_job(spec: JobSpec, run: Run, dependencies: Dependencies) -> Outcome:
    """
    Run a job and return how it ended. What was stored until then stays, however it ends.

    A source that refuses altogether, as a plan does that has not what was asked for, is followed
    by the next one.

    Raises:
        DatabaseUnavailable: If Postgres is away; the run may be repeated.
    """
    if spec.derive is not None:
        return await _derive(spec, run, dependencies, Outcome())
    sources = usable_sources(spec, dependencies.keys)
    if not sources:
        return _no_key(spec)
    outcome = Outcome()
    refusals: list[str] = []
    failures: list[str] = []
    for source in sources:
        outcome.sources.append(source.provider.name)
        collector = _Collector(spec, run, dependencies, source, outcome)
        try:
            await collector.run()
        except Deferred as deferred:
            if deferred.until is None and source is not sources[-1]:
                continue
            outcome.state = "deferred" if deferred.until is not None else "refused"
            outcome.not_before = deferred.until
            outcome.why = deferred.reason
            return outcome
        except CircuitOpen as sick:
            failures.append(str(sick))
        failures += collector.failures
        refusals = collector.refusals if not spec.complete else refusals + collector.refusals
        if not spec.complete and not (collector.refusals and outcome.items_done == 0):
            break
    if not refusals and not failures and outcome.items_failed == 0:
        outcome.counts.changed += await dependencies.store.prune()
    judge(outcome, sweep=spec.sweep, refusals=refusals, failures=failures)
    return outcome


def _no_key(spec: JobSpec) -> Outcome:
    names = " or ".join(source.provider.title for source in spec.sources)
    example = f'{{"{spec.sources[0].provider.name}": ["..."]}}'
    return Outcome("refused", why=f"no key for {names}: add one to PIPELINE_API_KEYS, {example}")


async def _derive(spec: JobSpec, run: Run, dependencies: Dependencies, outcome: Outcome) -> Outcome:
    assert spec.derive is not None
    outcome.sources.append("own tables")
    outcome.items = 1
    rows = tuple(spec.derive(run))
    result = Collected(Request("", ""), "done" if rows else "empty", rows=rows, calls=0)
    outcome.counts.add(await dependencies.store.save("own tables", [result]))
    outcome.items_done = 1
    outcome.counts.changed += await dependencies.store.prune()
    judge(outcome, sweep=False, refusals=[], failures=[])
    if not rows:
        outcome.why = "the tables it is made from have nothing yet: " + ", ".join(spec.depends)
    return outcome


class _Collector:
    """Asks one source for everything that is due."""

    def __init__(
        self, spec: JobSpec, run: Run, dependencies: Dependencies, source: Source, outcome: Outcome
    ) -> None:
        self._spec = spec
        self._run = run
        self._deps = dependencies
        self._source = source
        self._outcome = outcome
        self._name = source.provider.name
        self._by_fingerprint = {
            fingerprint(key): key for key in dependencies.keys.get(self._name, ())
        }
        self._redactor = redactor(key for keys in dependencies.keys.values() for key in keys)
        self._calls: dict[str, int] = {}  # made for an item and not yet counted
        self._permits = PermitBatcher(self._ask_limiter)
        self._largest_bytes = LARGEST_BYTES
        self._set_aside: list[Request] = []  # too large to be one of several
        self._sick = 0
        self.refusals: list[str] = []
        self.failures: list[str] = []

    async def run(self) -> None:
        known = await self._deps.store.items(self._name)
        requests = pending(self._spec, self._source.plan(self._run), known, now=self._deps.clock())
        self._outcome.items += len(requests)
        await self._deps.store.planned(self._outcome.items, self._outcome.sources)
        async with contextlib.aclosing(self._results(requests)) as results:
            async for some in results:
                counts = await self._deps.store.save(self._name, some)
                self._note(some, counts)
                self._deps.progress(self._outcome)
                if self._sick >= SICK_LIMIT:
                    raise CircuitOpen(
                        f"{self._source.provider.title} gives nothing: {some[-1].why}"
                    )

    def _note(self, results: Sequence[Collected], counts: Counts) -> None:
        outcome = self._outcome
        outcome.counts.add(counts)
        for result in results:
            outcome.calls += result.calls
            if result.state == "failed":
                outcome.items_failed += 1
                name = f"{result.request.item}: " if result.request.item else ""
                text = f"{name}{result.why}"
                refused_it = result.why.startswith("refused")
                (self.refusals if refused_it else self.failures).append(text)
                self._sick += 1
            elif result.state != "paging":
                outcome.items_done += 1
                self._sick = 0

    async def _results(self, requests: Sequence[Request]) -> Batches:
        """Yield answers as they come, some at once where they come faster than they are stored."""
        if scarce(self._source.provider) or len(requests) == 1:
            # Calls that a day counts are not risked: the next is made when this one is stored.
            async with contextlib.aclosing(self._one_by_one(requests)) as batches:
                async for batch in batches:
                    yield batch
            return
        self._largest_bytes = SMALL_BYTES
        async with contextlib.aclosing(self._concurrently(requests)) as batches:
            async for batch in batches:
                yield batch
        self._largest_bytes = LARGEST_BYTES
        async with contextlib.aclosing(self._one_by_one(self._set_aside)) as batches:
            async for batch in batches:
                yield batch

    async def _one_by_one(self, requests: Sequence[Request]) -> Batches:
        for request in requests:
            async with contextlib.aclosing(self._pages(request)) as pages:
                async for result in pages:
                    yield [result]

    async def _concurrently(
        self, requests: Sequence[Request]
    ) -> AsyncGenerator[list[Collected], None]:
        waiting = iter(requests)
        answers: asyncio.Queue[Collected | None] = asyncio.Queue(SAVED_TOGETHER)
        deferred: list[Deferred] = []

        async def work() -> None:
            for request in waiting:
                try:
                    async with contextlib.aclosing(self._pages(request)) as pages:
                        async for result in pages:
                            await answers.put(result)
                except Deferred as reason:
                    deferred.append(reason)
                if deferred:
                    return  # the others' calls in flight are made: they end and are stored

        async def work_all() -> None:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(CONCURRENCY, len(requests))):
                        group.create_task(work())
            finally:
                await answers.put(None)

        everybody = asyncio.create_task(work_all())
        try:
            ended = False
            while not ended:
                batch = [await answers.get()]
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TOGETHER_S):
                        while len(batch) < SAVED_TOGETHER and batch[-1] is not None:
                            batch.append(await answers.get())
                ended = batch[-1] is None
                if found := [result for result in batch if result is not None]:
                    yield found
            await everybody
        finally:
            everybody.cancel()
            await asyncio.gather(everybody, return_exceptions=True)
        if deferred:
            raise deferred[0]

    async def _pages(self, request: Request | None) -> AsyncGenerator[Collected, None]:
        """Yield an item's pages, each as it arrives, up to one that is to be asked for alone."""
        while request is not None:
            result = await self._ask(request)
            if result is None:
                self._set_aside.append(request)
                return
            yield result
            request = result.next

    async def _ask(self, request: Request) -> Collected | None:
        """
        Make one call, again where that helps, and return what it brought; None for an answer that
        is too large to be one of several.
        """
        problem, attempt = "", 0
        while attempt < ATTEMPTS:
            if attempt:
                await self._pause(attempt)
            grant = await self._permit()
            self._calls[request.item] = self._calls.get(request.item, 0) + 1
            try:
                answer = await self._deps.fetcher.fetch(
                    self._source.provider,
                    request,
                    key=self._by_fingerprint.get(grant.key, ""),
                    largest_bytes=self._largest_bytes,
                )
            except AnswerTooLarge as error:
                if self._largest_bytes < LARGEST_BYTES:
                    return None
                calls = self._calls.pop(request.item)
                return Collected(request, "failed", why=self._clean(str(error)), calls=calls)
            except RedirectRefused as error:
                calls = self._calls.pop(request.item)
                why = f"refused: {self._clean(' '.join(str(error).split()))}"
                return Collected(request, "failed", why=why, calls=calls)
            except ProviderUnavailable as error:
                problem = self._clean(str(error))
                attempt += 1
                continue
            except PipelineError:
                raise
            except Exception as error:
                # A library's error may quote the URL, and the URL the key: no traceback is logged.
                problem = self._clean(f"{type(error).__name__}: {error}")
                attempt += 1
                continue
            # From here on nothing has a key: not the rows, not the payloads, not the letters.
            answer = answer.redacted(self._redactor)
            found = read(self._source, answer, request, self._run)
            calls = self._calls[request.item]
            if isinstance(found, Reading):
                del self._calls[request.item]
                return collected(self._source, found, request, answer=answer, calls=calls)
            final = await self._refusal(request, found, grant, calls=calls)
            if final is not None:
                del self._calls[request.item]
                return final
            problem = found.message
            # A key that rests is not asked again, so that the number of keys bounds these.
            attempt += found.refusal not in {Refusal.QUOTA, Refusal.KEY}
        calls = self._calls.pop(request.item, 0)
        return Collected(request, "failed", why=f"{ATTEMPTS} attempts: {problem}", calls=calls)

    async def _refusal(
        self, request: Request, verdict: Verdict, grant: Permit, *, calls: int
    ) -> Collected | None:
        """Do what a refusal demands; return the item's end, None where it may be asked again."""
        now = self._deps.clock()
        kind, limiter = verdict.refusal, self._deps.limiter
        if kind in {Refusal.REQUEST, Refusal.PLAN, Refusal.NOT_FOUND}:
            final = refused(request, verdict, now=now, calls=calls)
            why = f"refused: {verdict.message}" if final.state == "failed" else verdict.message
            return Collected(
                request, final.state, not_before=final.not_before, why=why, calls=calls
            )
        if kind is Refusal.RATE:
            pause_s = verdict.retry_after_s
            if pause_s is None:
                pause_s = RATE_PAUSE_S / self._deps.speed
            until = now + timedelta(seconds=pause_s)
            await limiter.cooldown(self._name, grant.key, until=until, reason=verdict.message)
        elif kind is Refusal.QUOTA:
            window = self._source.provider.quota.longest()
            until = window.end(now) if window and window.reset != "sliding" else now + STALE_QUOTA
            if verdict.retry_after_s is not None:
                until = now + timedelta(seconds=verdict.retry_after_s)
            await limiter.cooldown(self._name, grant.key, until=until, reason=verdict.message)
        elif kind is Refusal.KEY:
            await limiter.cooldown(self._name, grant.key, until=None, reason=verdict.message)
        elif kind is Refusal.BLOCKED:
            await limiter.cooldown(
                self._name, grant.key, until=now + BLOCKED_PAUSE, reason=verdict.message
            )
            raise Deferred(now + BLOCKED_PAUSE, verdict.message)
        return None

    async def _permit(self) -> Permit:
        """Wait for a permit; defer the run if that takes too long."""
        if not self._source.provider.quota.windows and not self._by_fingerprint:
            return Permit("")
        while True:
            permit = await self._permits.take()
            if isinstance(permit, Permit):
                return permit
            if permit.moment is None:
                raise Deferred(None, self._stuck(permit))
            wait_s = (permit.moment - self._deps.clock()).total_seconds()
            if wait_s > self._deps.longest_wait_s:
                raise Deferred(permit.moment, self._stuck(permit))
            await self._deps.sleep(max(0.0, wait_s))

    async def _ask_limiter(self, calls: int) -> Permit | NotBefore:
        return await self._deps.limiter.acquire(
            self._name, job=self._spec.name, sweep=self._spec.sweep, calls=calls
        )

    def _stuck(self, refusal: NotBefore) -> str:
        return f"{self._source.provider.title}: {self._clean(refusal.reason)}"

    async def _pause(self, attempt: int) -> None:
        bound_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**attempt)
        await self._deps.sleep(self._deps.random.uniform(0, bound_s) / self._deps.speed)

    def _clean(self, text: str) -> str:
        return self._redactor.text(text)


def scarce(provider: Provider) -> bool:
    """Say whether a provider counts calls by the day or longer."""
    window = provider.quota.longest()
    return window is not None and (
        window.reset != "sliding" or window.period >= timedelta(minutes=10)
    )


def check_plan(spec: JobSpec, run: Run) -> None:
    """
    Make every source's plan once.

    Raises:
        PipelineError: If one cannot be made.
    """
    for source in spec.sources:
        try:
            pending(spec, source.plan(run), {}, now=run.now)
        except (LookupError, ValueError, TypeError, ArithmeticError) as error:
            raise PipelineError(f"job {spec.name}: its plan fails: {error}") from error

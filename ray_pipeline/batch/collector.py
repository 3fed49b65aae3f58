"""Collect every due item of one source and store the results as they arrive."""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import timedelta

from ray_pipeline.batch.attempts import LARGEST_BYTES, SourceCaller
from ray_pipeline.batch.circuit_breaker import CircuitBreaker
from ray_pipeline.batch.outcome import Outcome
from ray_pipeline.batch.progress import ItemProgress, pending, waiting
from ray_pipeline.batch.results import Saved
from ray_pipeline.batch.run_ports import Dependencies
from ray_pipeline.batch.worker_pool import Batches, Results, collect_concurrently
from ray_pipeline.jobs.spec import JobSpec, Request, Run, Source
from ray_pipeline.providers.provider import Provider

FAILURE_LIMIT = 5  # items that fail in a row before the circuit breaker opens
# Concurrent requests hold up to 40 answers in memory. Larger answers are set aside and requested
# again one at a time, which keeps a run below 250 MB.
SMALL_BYTES = 2**19
SCARCE_PERIOD = timedelta(minutes=10)


def is_scarce(provider: Provider) -> bool:
    """Return whether a provider counts calls over a long period, so that each call matters."""
    window = provider.quota.longest()
    return window is not None and (window.reset != "sliding" or window.period >= SCARCE_PERIOD)


class SourceCollector:
    """
    Collects the due items of one source.

    Attributes:
        refusals: Items that the provider refused, each with the reason.
        failures: Items that failed for another reason.
    """

    def __init__(
        self,
        spec: JobSpec,
        run: Run,
        source: Source,
        *,
        dependencies: Dependencies,
        outcome: Outcome,
    ) -> None:
        self._spec = spec
        self._run = run
        self._source = source
        self._dependencies = dependencies
        self._outcome = outcome
        self._caller = SourceCaller(spec, run, source, dependencies)
        self._circuit = CircuitBreaker(FAILURE_LIMIT)
        self._set_aside: list[Request] = []  # their answers are too large to be one of several
        self.refusals: list[str] = []
        self.failures: list[str] = []

    async def run(self) -> None:
        """
        Request the due items and store each result with its progress in one transaction.

        Raises:
            Deferred: If a quota does not permit the next call in time.
            CircuitOpen: If the provider fails for one item after the other.
        """
        source, store = self._source.provider.name, self._dependencies.store
        progress = await store.items(source)
        plan = self._source.plan(self._run)
        requests = pending(self._spec, plan, progress, now=self._dependencies.clock())
        if not requests:
            self._report_waiting(progress)
        self._outcome.items += len(requests)
        await store.planned(self._outcome.items, self._outcome.sources)
        try:
            async with contextlib.aclosing(self._batches(requests)) as batches:
                async for results in batches:
                    self._record(await store.save(source, results))
                    self._dependencies.progress(self._outcome)
                    self._circuit.check(self._source.provider.title, results[-1].why)
        finally:
            # Also the calls of requests that were deferred or cancelled and have no result.
            self._outcome.calls = self._dependencies.calls.total

    def _report_waiting(self, progress: Mapping[str, ItemProgress]) -> None:
        """Fail a run that requests nothing while items without data wait for their next attempt."""
        items = waiting(progress, now=self._dependencies.clock())
        if items:
            moment = min(item.not_before for item in items if item.not_before is not None)
            self.failures.append(
                f"{len(items)} items failed before; the next attempt is due at "
                f"{moment:%Y-%m-%d %H:%M} UTC"
            )

    def _record(self, saved: Saved) -> None:
        outcome = self._outcome
        outcome.calls = self._dependencies.calls.total
        outcome.counts.add(saved.counts)
        for result in saved.results:
            if result.state == "failed":
                outcome.items_failed += 1
                name = f"{result.request.item}: " if result.request.item else ""
                problems = self.refusals if result.is_refusal else self.failures
                problems.append(f"{name}{result.why}")
            elif result.state != "paging":
                outcome.items_done += 1
            if result.state != "paging":
                # An answer that cannot be used is the fault of its item; the provider answers.
                self._circuit.record(failed=result.fault in {"provider", "refusal"})

    async def _batches(self, requests: Sequence[Request]) -> Batches:
        """Yield the results, several at once if they arrive faster than they are stored."""
        if is_scarce(self._source.provider) or len(requests) == 1:
            # Each call is stored before the next one is made: a crash loses one call of the quota.
            stages = [self._one_by_one(requests)]
        else:
            stages = [
                collect_concurrently(requests, lambda request: self._pages(request, SMALL_BYTES)),
                # A generator: it looks at the set-aside requests after the first stage has ended.
                self._one_by_one(self._set_aside),
            ]
        for stage in stages:
            async with contextlib.aclosing(stage) as batches:
                async for results in batches:
                    yield results

    async def _one_by_one(self, requests: Sequence[Request]) -> Batches:
        for request in requests:
            async with contextlib.aclosing(self._pages(request, LARGEST_BYTES)) as pages:
                async for result in pages:
                    yield [result]

    async def _pages(self, request: Request, largest_bytes: int) -> Results:
        """Yield the results of an item's pages; stop at an answer that is too large."""
        page: Request | None = request
        while page is not None:
            result = await self._caller.call(page, largest_bytes=largest_bytes)
            if result is None:
                self._set_aside.append(page)
                return
            yield result
            page = result.next

"""Collect every due item of one source and store the results as they arrive."""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import timedelta

from ray_pipeline.batch.attempts import LARGEST_BYTES, SourceCaller
from ray_pipeline.batch.circuit_breaker import CircuitBreaker
from ray_pipeline.batch.outcome import Outcome
from ray_pipeline.batch.progress import ItemProgress, pending, waiting
from ray_pipeline.batch.responses import compared
from ray_pipeline.batch.results import Collected, Saved
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
        lacks_data: Whether the provider refuses, or answers without the data: another source may
            have it. An outage does not count.
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
        self._without_data: dict[str, str] = {}  # why, by item
        self._has_data = False
        self.refusals: list[str] = []
        self.failures: list[str] = []
        self.lacks_data = False

    async def run(self) -> None:
        """
        Request the due items and store each result with its progress in one transaction.

        Raises:
            Deferred: If a quota does not permit the next call in time.
            CircuitOpen: If the provider fails for one item after the other.
        """
        source, store = self._source.provider.name, self._dependencies.store
        progress = await store.items(source)
        sizes = await store.answer_sizes(source)
        # An interrupted run of this slot may have stored rows. A sweep's progress is older.
        self._has_data = not self._spec.sweep and any(
            item.state == "done" for item in progress.values()
        )
        plan = self._source.plan(self._run)
        requests = pending(self._spec, plan, progress, now=self._dependencies.clock())
        if not requests:
            self._report_waiting(progress)
        self._outcome.items += len(requests)
        await store.planned(self._outcome.items, self._outcome.sources)
        try:
            async with contextlib.aclosing(self._batches(requests)) as batches:
                async for answers in batches:
                    results = [compared(self._source, answer, sizes) for answer in answers]
                    self._record(await store.save(source, results))
                    self._dependencies.progress(self._outcome)
                    self._circuit.check(self._source.provider.title, results[-1].why)
        finally:
            # Also the calls of requests that were deferred or cancelled and have no result.
            self._outcome.calls = self._dependencies.calls.total
        await self._refuse_if_without_data()

    async def _refuse_if_without_data(self) -> None:
        """
        Turn the items without data into refusals if no item has rows.

        One company without news is normal. All of them without news is a provider that answers
        with empty documents, and its items must not count as collected.
        """
        if not self._without_data or self._has_data:
            return
        await self._dependencies.store.reopen(self._source.provider.name, list(self._without_data))
        self._outcome.items_done -= len(self._without_data)
        self._outcome.items_failed += len(self._without_data)
        self.refusals += [_named(item, why) for item, why in self._without_data.items()]
        self.lacks_data = True

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
                problems = self.refusals if result.is_refusal else self.failures
                problems.append(_named(result.request.item, result.why))
                self.lacks_data |= result.is_refusal or result.lacks_data
            elif result.state != "paging":
                outcome.items_done += 1
                if result.lacks_data:
                    self._without_data[result.request.item] = result.why
            self._has_data |= bool(result.rows)
            if result.state != "paging":
                self._circuit.record(failed=_is_providers_fault(result))

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


def _named(item: str, why: str) -> str:
    return f"{item}: {why}" if item else why


def _is_providers_fault(result: Collected) -> bool:
    """
    Return whether an item failed because the provider does not answer with data.

    An answer that cannot be read is the fault of its item: five of them must not end the run.
    """
    is_empty = result.lacks_data and not result.bad
    return result.fault in {"provider", "refusal"} or (result.state == "failed" and is_empty)

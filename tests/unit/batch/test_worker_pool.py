"""Concurrent requests: bounded, in batches, and cleaned up however they end."""

import asyncio
import contextlib

import pytest

from ray_pipeline.batch.attempts import Deferred
from ray_pipeline.batch.results import Collected
from ray_pipeline.batch.worker_pool import (
    BATCH_RESULTS,
    CONCURRENCY,
    collect_concurrently,
)
from ray_pipeline.jobs.spec import Request

REQUESTS = [Request(f"I{number}", "/") for number in range(100)]


class Provider:
    """Answers after a moment; counts how many requests are in flight."""

    def __init__(self, *, fail_at: int | None = None, error: Exception | None = None) -> None:
        self.in_flight = self.most = self.begun = self.closed = 0
        self.fail_at = fail_at
        self.error = error

    async def pages(self, request: Request):
        self.begun = number = self.begun + 1
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await asyncio.sleep(0)
            if number == self.fail_at:
                raise self.error
            yield Collected(request, "done")
        finally:
            self.in_flight -= 1
            self.closed += 1


async def test_every_request_is_answered_once_and_in_batches():
    provider = Provider()

    batches = [batch async for batch in collect_concurrently(REQUESTS, provider.pages)]

    results = [result.request for batch in batches for result in batch]
    assert sorted(results, key=lambda request: int(request.item[1:])) == REQUESTS
    assert provider.most == CONCURRENCY
    assert 1 < max(map(len, batches)) <= BATCH_RESULTS


async def test_no_request_is_no_batch():
    assert [batch async for batch in collect_concurrently([], Provider().pages)] == []


async def test_a_deferral_comes_after_what_was_in_flight():
    provider = Provider(fail_at=20, error=Deferred(None, "quota"))
    results = []

    async def collect() -> None:
        async for batch in collect_concurrently(REQUESTS, provider.pages):
            results.extend(batch)

    with pytest.raises(Deferred):
        await collect()

    assert 0 < len(results) == provider.begun - 1 < len(REQUESTS)


async def test_an_unexpected_error_reaches_the_caller():
    provider = Provider(fail_at=3, error=OSError("disk"))

    with pytest.raises(OSError, match="disk"):
        async for _ in collect_concurrently(REQUESTS, provider.pages):
            pass

    assert provider.in_flight == 0


async def test_a_consumer_that_stops_stops_the_workers():
    provider = Provider()

    async with contextlib.aclosing(collect_concurrently(REQUESTS, provider.pages)) as batches:
        async for _ in batches:
            break

    assert provider.in_flight == 0
    assert provider.begun == provider.closed < len(REQUESTS)

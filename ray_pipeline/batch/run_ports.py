"""The ports of a run: storage, limiter, network, time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Protocol

from ray_pipeline.batch.call_count import CallCount
from ray_pipeline.batch.outcome import Outcome
from ray_pipeline.batch.permits import Limiter
from ray_pipeline.batch.progress import ItemProgress
from ray_pipeline.batch.responses import AnswerSizes
from ray_pipeline.batch.results import Collected, Saved
from ray_pipeline.jobs.spec import Request
from ray_pipeline.providers.provider import Provider
from ray_pipeline.transport.answer import Answer
from ray_pipeline.transport.counted import NextCall

LONGEST_WAIT_S = 90.0  # for a quota; a run that would wait longer is deferred


class Fetcher(Protocol):
    """Makes calls."""

    async def fetch(
        self,
        provider: Provider,
        request: Request,
        *,
        key: str,
        largest_bytes: int,
        next_call: NextCall,
    ) -> Answer:
        """
        Make a request and return its answer, whatever its HTTP status.

        `next_call` is opened around each call; a login and each redirect are further calls.

        Raises:
            AnswerTooLarge: If the answer has more than `largest_bytes`.
            ProviderUnavailable: If the provider cannot be reached.
            RedirectRefused: If the provider redirects to another host.
        """


class RunStore(Protocol):
    """Stores the rows and the progress of a run."""

    async def items(self, source: str) -> dict[str, ItemProgress]:
        """Return the progress of the items, by item."""

    async def answer_sizes(self, source: str) -> AnswerSizes:
        """Return how many values the last complete answers had."""

    async def reopen(self, source: str, items: Sequence[str]) -> None:
        """Mark items as failed, so that the next run requests them again."""

    async def save(self, source: str, results: Sequence[Collected]) -> Saved:
        """Store rows and progress of some results in one transaction."""

    async def prune(self) -> int:
        """Remove rows that the source no longer has; return how many."""

    async def planned(self, items: int, sources: Sequence[str]) -> None:
        """Record how many items the run requests, and from which sources."""


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Dependencies:
    """
    The ports and settings of a run.

    Attributes:
        store, limiter, fetcher: The ports.
        keys: The keys of every provider.
        clock: Returns the time, UTC.
        sleep: Waits for seconds.
        random: Source of jitter.
        progress: Called with the outcome so far after every transaction.
        calls: Counts the calls of the run.
        longest_wait_s: A run that would wait longer for a permit is deferred.
        speed: How much faster than real time the providers' clock runs, in a demo.
    """

    store: RunStore
    limiter: Limiter
    fetcher: Fetcher
    keys: Mapping[str, Sequence[str]]
    clock: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]] = _sleep
    random: Random = field(default_factory=Random)
    progress: Callable[[Outcome], None] = lambda _outcome: None
    calls: CallCount = field(default_factory=CallCount)
    longest_wait_s: float = LONGEST_WAIT_S
    speed: float = 1.0

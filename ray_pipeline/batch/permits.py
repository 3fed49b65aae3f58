"""
Permits for calls: the limiter counts each call in every quota window before it is made.

A permit expires, because the limiter counts its call in the windows of the time at which it can
arrive at the provider. An expired permit is never used, and its call stays counted. Permits are
therefore requested for the callers that wait at that moment, never in advance.
"""

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.providers.quota import Window

VALID_S = 30.0  # a call starts at most this long after its permit was requested
# CLOCK_BOOTTIME includes the time during which the machine is suspended; it is Linux's.
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed_s() -> float:
    """Return the time of a clock that is never set and does not stop while the machine sleeps."""
    return time.clock_gettime(_BOOT_CLOCK)


@dataclass(frozen=True, slots=True)
class Permit:
    """
    Permission to make calls.

    Attributes:
        key: Fingerprint of the key to use; empty for a provider without keys.
        calls: How many calls.
        ids: The calls in the ledger.
        expires_s: The latest start of a call, by `elapsed_s` of the process that requested it.
    """

    key: str
    calls: int = 1
    ids: tuple[int, ...] = field(default=(), compare=False)
    expires_s: float = field(default=math.inf, compare=False)

    def single_permits(self) -> list["Permit"]:
        """Return one permit for each call."""
        single = Permit(self.key, expires_s=self.expires_s)
        return [replace(single, ids=self.ids[at : at + 1]) for at in range(self.calls)]


# How long a key is not used: a time, until the end of a calendar window, or until the keys change.
Pause = timedelta | Window | None


@dataclass(frozen=True, slots=True)
class NotBefore:
    """
    The answer of a limiter that cannot permit a call now.

    Attributes:
        moment: When to request again, UTC; None if only a change of the keys helps.
        reason: The name of the full window, or why the keys are in cooldown.
        wait_s: The seconds until `moment` by the clock of the ledger; None if it is not known.
    """

    moment: datetime | None
    reason: str
    wait_s: float | None = field(default=None, compare=False)

    def wait_from(self, now: datetime) -> float:
        """Return the seconds until `moment`, inf without one; `now` replaces a missing `wait_s`."""
        if self.moment is None:
            return math.inf
        return (self.moment - now).total_seconds() if self.wait_s is None else self.wait_s


class Limiter(Protocol):
    """Counts calls against every quota before they are made. It answers at once."""

    async def acquire(
        self, provider: str, *, job: str, sweep: bool, calls: int = 1, key: str | None = None
    ) -> Permit | NotBefore:
        """
        Return a permit for up to `calls` calls of one key, counted and committed, or when to
        request again. Each call must start within VALID_S of the request. `key` is the fingerprint
        of the key to use; None lets the limiter choose.
        """

    async def finished(self, ids: Sequence[int]) -> None:
        """Record that these calls have been answered, so that they leave sliding windows sooner."""

    async def cooldown(
        self, provider: str, key: str, *, pause: Pause, reason: str
    ) -> datetime | None:
        """
        Do not permit calls of a key during a pause that begins now; return its end by the clock of
        the ledger, None if only a change of the keys ends it.
        """


Acquire = Callable[[int], Awaitable[Permit | NotBefore]]


async def timed(
    request: Awaitable[Permit | NotBefore], *, clock: Callable[[], float] = elapsed_s
) -> Permit | NotBefore:
    """
    Await a request for a permit, and return its answer with the time at which it expires.

    Raises:
        DatabaseUnavailable: If the permit has expired already: the ledger is too slow, and another
            request would waste another call.
    """
    # The time before the request is not later than the grant, whatever the database's clock says.
    # So a call that starts before `expires_s` starts within VALID_S of its grant.
    requested_s = clock()
    answer = await request
    if isinstance(answer, NotBefore):
        return answer
    if clock() >= requested_s + VALID_S:
        raise DatabaseUnavailable(f"the ledger took more than {VALID_S:g} s to permit a call")
    return replace(answer, expires_s=requested_s + VALID_S)


class PermitBatcher:
    """
    Combine the requests of callers that wait at the same time into one request to the limiter.

    The limiter commits a transaction for each request. Eight concurrent callers that each made
    their own request would queue for eight commits; combined, they wait for one.
    """

    def __init__(self, acquire: Acquire, *, clock: Callable[[], float] = elapsed_s) -> None:
        """Use `acquire` to request permits for up to a number of calls."""
        self._acquire = acquire
        self._clock = clock
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._permits: deque[Permit] = deque()

    async def take(self) -> Permit | NotBefore:
        """Return a valid permit for one call, or when to request again."""
        self._waiting += 1
        try:
            # While one caller holds the lock and requests, others arrive and are counted. The next
            # holder of the lock requests for all of them, and each takes its permit in turn.
            async with self._turn:
                while self._permits and self._clock() >= self._permits[0].expires_s:
                    self._permits.popleft()
                if not self._permits:
                    answer = await timed(self._acquire(self._waiting), clock=self._clock)
                    if isinstance(answer, NotBefore):
                        return answer
                    self._permits.extend(answer.single_permits())
                return self._permits.popleft()
        finally:
            self._waiting -= 1


async def report(limiter: Limiter, permit: Permit) -> None:
    """Report an answered call. A report that fails makes the next permit later; no call is lost."""
    if permit.ids:
        with contextlib.suppress(DatabaseUnavailable):
            await limiter.finished(permit.ids)


@contextlib.asynccontextmanager
async def call_of(
    permit: Permit, finished: Callable[[Permit], Awaitable[None]]
) -> AsyncIterator[None]:
    """Make the call of a permit inside the block; then report it, if it has certainly arrived."""
    try:
        yield
    except (TimeoutError, asyncio.CancelledError):
        raise  # the request may still be on its way, so the ledger assumes the latest arrival
    except BaseException:
        await finished(permit)
        raise
    await finished(permit)


class CallPermits:
    """
    The permits of the calls that one attempt makes: a login, a redirect and a retry inside a
    library are calls of the provider too. All of them use the key of the first permit.
    """

    def __init__(
        self,
        first: Permit,
        *,
        another: Callable[[str], Awaitable[Permit]],
        started: Callable[[], object],
        finished: Callable[[Permit], Awaitable[None]],
        clock: Callable[[], float] = elapsed_s,
    ) -> None:
        """
        Begin with a permit.

        Args:
            first: The permit of the first call.
            another: Waits for a permit of the same key.
            started: Called before each call.
            finished: Called after each call that has certainly arrived.
            clock: The clock of `Permit.expires_s`.
        """
        self._key = first.key
        self._first: Permit | None = first
        self._another = another
        self._finished = finished
        self._clock = clock
        self._started = started

    @contextlib.asynccontextmanager
    async def next_call(self) -> AsyncIterator[None]:
        """Wait for a permit, and make one call inside the block. See `NextCall`."""
        permit, self._first = self._first, None
        if permit is None or self._clock() >= permit.expires_s:
            permit = await self._another(self._key)
        self._started()
        async with call_of(permit, self._finished):
            yield

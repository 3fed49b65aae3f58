"""How long to wait before the next attempt."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

T = TypeVar("T")
E = TypeVar("E", bound=Exception)

GROWTH_LIMIT = 64  # doublings; past it every cap is reached, and a float would overflow


def doubled_s(base_s: float, failures: int) -> float:
    """Return a pause that doubles with every failure; `base_s` before the first one."""
    return base_s * 2.0 ** min(failures, GROWTH_LIMIT)


class Backoff:
    """
    Full jitter: a random pause below a bound that doubles with every failure.

    It never gives up. Reset it when data arrives, not when a connection opens: a server that
    accepts and closes would otherwise be called at full speed.
    """

    def __init__(self, *, base_s: float, cap_s: float, random: Random) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self._random = random
        self._failures = 0

    def next_s(self) -> float:
        """Count a failure and return the seconds to wait after it."""
        bound_s = min(self._cap_s, doubled_s(self._base_s, self._failures))
        self._failures += 1
        return self._random.uniform(0.0, bound_s)

    def reset(self) -> None:
        """Forget the failures: data arrived."""
        self._failures = 0


async def retrying(
    attempt: Callable[[], Awaitable[T]],
    on: type[E] | tuple[type[E], ...],
    *,
    failed: Callable[[E], None],
    backoff: Backoff,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """
    Return the result of the first attempt that succeeds.

    Args:
        attempt: Makes one attempt.
        on: Errors after which the next attempt is made; any other error is raised.
        failed: Receives each of those errors. If it raises, no further attempt is made.
        backoff: Pauses between attempts; reset by the success.
        sleep: Waits for a number of seconds.
    """
    while True:
        try:
            result = await attempt()
        except on as error:
            failed(error)
            await sleep(backoff.next_s())
        else:
            backoff.reset()
            return result

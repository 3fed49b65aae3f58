"""
Run a test in virtual time: a sleep takes no real time, and timers fire in the order of their times.

When no callback is ready, the event loop sets its clock to the next timer instead of waiting for
it. A test can therefore assert exact times, and its result does not depend on the machine's load.
"""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta

from ray_pipeline.stream.connection_ports import Clock

START = datetime(2026, 9, 23, 14, tzinfo=UTC)
# Tasks that run without end must fail the test, which no real time would interrupt.
LIMIT_S = 100_000.0
LIMIT_ROUNDS = 100_000  # of the event loop at one moment


class _Selector(selectors.DefaultSelector):
    """Passes the time that it would wait, None for without end, to `advance`; returns at once."""

    def __init__(self, advance: Callable[[float | None], None]) -> None:
        super().__init__()
        self._advance = advance

    def select(self, timeout: float | None = None) -> list:
        ready = super().select(0)
        if not ready:
            self._advance(timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock that begins at 0 and advances only while nothing can run."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._rounds = 0
        super().__init__(_Selector(self._advance))

    def time(self) -> float:
        return self._now_s

    def _advance(self, seconds: float | None) -> None:
        if seconds is None:
            raise AssertionError("every task waits, and no timer will wake one")
        self._rounds = 0 if seconds > 0 else self._rounds + 1
        if self._rounds > LIMIT_ROUNDS:
            raise AssertionError(f"the tasks run without end at {self._now_s:g} s of virtual time")
        self._now_s += seconds
        if self._now_s > LIMIT_S:
            raise AssertionError(f"the test does not end within {LIMIT_S:g} s of virtual time")


def virtual_time(test: Callable[..., Coroutine]) -> Callable[..., None]:
    """Run an asynchronous test in a virtual-time loop."""

    @functools.wraps(test)
    def run(*arguments: object, **fixtures: object) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*arguments, **fixtures))

    return run


def now_s() -> float:
    """Return the seconds since the test began."""
    return asyncio.get_running_loop().time()


async def until_s(seconds: float) -> None:
    """Sleep until this number of seconds after the test began."""
    await asyncio.sleep(seconds - now_s())


def at(seconds: float) -> datetime:
    """Return the moment this number of seconds after the test began."""
    return START + timedelta(seconds=seconds)


def virtual_clock() -> Clock:
    """Return a clock that shows virtual time; use it inside a test in virtual time."""
    return Clock(now=lambda: at(now_s()), monotonic_s=now_s)

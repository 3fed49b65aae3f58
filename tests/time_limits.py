"""
End tests that hang: each fails with the stacks of its coroutines and threads.

pytest-timeout gives each test its limit, from `pyproject.toml` or a marker; this module decides
what happens when the limit is over. The reaction of pytest-timeout has three gaps for this suite:
the main thread's stack ends in `select` while a coroutine hangs; its timer fires once, so a
teardown that hangs after it never ends; and it needs a terminal, which workers of xdist lack.

An alarm raises the failure in the main thread, and goes off again regularly, because a task may
swallow the exception. If the main thread is stuck in C code, where no signal handler runs, a
watchdog prints the stacks of all threads and ends the process.
"""

import asyncio
import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from pytest_timeout import Settings, is_debugging

TESTS = Path(__file__).parent
# Ray clusters start and end within a test; a chaos run has its own deadlines, which come first; the
# first test on a node installs everything.
LIMITS_S = {"cluster": 900.0, "chaos": 1_260.0, "kube": 1_800.0}
AGAIN_S = 30.0  # between two alarms of one test
WATCHDOG_S = 150.0  # after the limit; some alarms come first
EXIT_S = 120.0  # from the last test until the process has ended
SHOWN_TASKS = 40
SHOWN_FRAMES = 16  # of a thread, the innermost
AWAITED = ("cr_await", "gi_yieldfrom", "ag_await")
FRAMES = ("cr_frame", "gi_frame", "ag_frame")

# A copy, because pytest captures the descriptor itself while tests run.
_stderr = os.fdopen(os.dup(2), "w")
_settings = pytest.StashKey[Settings]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of slow folders a longer limit."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
        if folder in LIMITS_S and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LIMITS_S[folder]))


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Settings) -> bool:
    """Arm the alarm and the watchdog of a test."""
    item.stash[_settings] = settings
    _arm(item, settings)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_cancel_timer(item: pytest.Item) -> bool:
    """Disarm the alarm and the watchdog."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    faulthandler.cancel_dump_traceback_later()
    return True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Give the teardown a limit of its own: a failure of the test disarms that of the test."""
    if settings := item.stash.get(_settings, None):
        _arm(item, settings)
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """End a process that does not end, such as one with a thread that nothing stops."""
    faulthandler.dump_traceback_later(EXIT_S, exit=True, file=_stderr)


def _arm(item: pytest.Item, settings: Settings) -> None:
    def fail(_number: int, frame: FrameType | None) -> None:
        __tracebackhide__ = True
        if not is_debugging():
            title = f"{item.nodeid} hangs: a phase of it took longer than {settings.timeout:g} s"
            pytest.fail(f"{title}\n\n{stacks(frame)}")

    signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, settings.timeout, AGAIN_S)
    faulthandler.dump_traceback_later(settings.timeout + WATCHDOG_S, exit=True, file=_stderr)


def stacks(main: FrameType | None) -> str:
    """Return the stacks of the running loop's tasks, of the main thread and of other threads."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    texts = list(_task_stacks())
    for ident, current in sys._current_frames().items():
        # The main thread runs the signal handler: show what it did before.
        frame = main if ident == threading.get_ident() else current
        lines = "".join(traceback.format_stack(frame, limit=SHOWN_FRAMES))
        texts.append(f"--- thread {names.get(ident, ident)}\n{lines}")
    return "\n".join(texts)


def _task_stacks() -> Iterator[str]:
    try:
        tasks = list(asyncio.all_tasks(asyncio.get_running_loop()))
    except RuntimeError:
        return
    for task in tasks[:SHOWN_TASKS]:
        frames, last = _suspended(task.get_coro())
        lines = "".join(traceback.format_list(traceback.StackSummary.extract(frames)))
        yield f"--- task {task.get_name()}, awaits {last!r:.300}\n{lines}"
    if len(tasks) > SHOWN_TASKS:
        yield f"--- and {len(tasks) - SHOWN_TASKS} more tasks"


def _suspended(awaitable: object) -> tuple[list[tuple[FrameType, int]], object]:
    """
    Return the frames of a suspended coroutine, the outermost first, and what the last one awaits.

    `Task.get_stack` stops at the outermost frame, which does not say where the task hangs.
    """
    frames: list[tuple[FrameType, int]] = []
    while frame := _attribute(awaitable, FRAMES):
        frames.append((frame, frame.f_lineno))
        awaitable = _attribute(awaitable, AWAITED)
    return frames, awaitable


def _attribute(awaitable: object, names: tuple[str, ...]) -> Any:
    return next((getattr(awaitable, name) for name in names if hasattr(awaitable, name)), None)

"""A test that hangs fails with the place at which it hangs; the run goes on."""

import ast
import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import end, eventually, next_line

ROOT = Path(__file__).parents[2]
HANGING = """
import asyncio
import threading

import pytest


async def wait_for_an_item():
    await asyncio.Queue().get()


async def test_coroutine():
    await asyncio.create_task(wait_for_an_item())


def test_join():
    thread = threading.Thread(target=wait_in_thread, daemon=True)
    thread.start()
    thread.join()


def wait_in_thread():
    threading.Event().wait()


@pytest.fixture
def never_stops():
    yield
    threading.Event().wait()


def test_failure_and_teardown(never_stops):
    assert False


@pytest.fixture
async def never_starts():
    await asyncio.Event().wait()


async def test_setup(never_starts):
    pass


def test_afterwards():
    pass
"""


def test_every_command_that_a_test_runs_has_a_deadline():
    """A command that hangs fails with its name, before the test's own limit."""
    endless = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) == "subprocess.run"
        and "timeout" not in {keyword.arg for keyword in call.keywords}
    ]

    assert endless == []


async def test_a_probe_that_hangs_fails():
    """A condition that is never answered is not waited for without end."""
    with pytest.raises(AssertionError, match="the probe of an event hangs"):
        await eventually(asyncio.Event().wait, timeout_s=0.05, what="an event")


def test_a_process_that_prints_nothing_fails_with_what_was_missing():
    """The process is alive, so reading a line would not return."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        with pytest.raises(AssertionError, match="its address"):
            next_line(process, "its address", timeout_s=0.05)
        end(process)

    assert process.returncode is not None


def test_a_hanging_test_fails_with_its_stacks(tmp_path):
    """In a coroutine, a thread, the start of a fixture, and the end of one after a failure."""
    (tmp_path / "test_hanging.py").write_text(HANGING)

    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.time_limits", "--timeout", "1", "-n", "1",
         "-o", "asyncio_mode=auto", "-c", "/dev/null", "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip

    assert re.search("3 failed, 1 passed, 2 errors", ended.stdout), ended.stdout + ended.stderr
    assert ended.stdout.count("hangs: a phase of it took longer than 1 s") >= 4
    for place in ("in wait_for_an_item", "in wait_in_thread", "in never_stops", "in never_starts"):
        assert place in ended.stdout, place

"""The clock of one process."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.clocks import Clocks, compile_library

NOW = "import datetime, time; print(time.time(), datetime.datetime.now().timestamp())"


@pytest.fixture
def clocks(tmp_path: Path) -> Clocks:
    """Clocks that can be set."""
    library = compile_library(tmp_path)
    if library is None:
        pytest.skip("no compiler of C")
    return Clocks(tmp_path, library)


def test_a_process_sees_the_time_that_was_set(clocks, tmp_path):
    """Both ways of asking for the time of day."""
    values = clocks.values("child")
    clocks.by_name["child"].set(3600.0)

    output = subprocess.run(
        [sys.executable, "-c", NOW],
        env=dict(values),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    ahead_s = [float(word) - time.time() for word in output.stdout.split()]
    assert all(3500 < seconds <= 3600 for seconds in ahead_s)


def test_what_a_wrong_clock_wrote_is_translated_back(clocks):
    """An offset that leads outside of the run is not the one."""
    clocks.values("child")
    clock, now_s = clocks.by_name["child"], time.time()
    clock.set(3660.0)
    clock.set(-3660.0)
    clock.set(0.0)

    assert clocks.real_s("child", now_s) == now_s
    assert clocks.real_s("child", now_s + 3660) == now_s
    assert clocks.real_s("child", now_s - 3660) == now_s
    assert clocks.real_s("another", now_s) == now_s

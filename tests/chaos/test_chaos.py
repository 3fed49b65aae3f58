"""A whole pipeline under random faults, as `make chaos` runs it."""

import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.chaos.processes import ROOT, leftovers

COMMAND = (sys.executable, "-m", "tests.chaos")
LONGEST_S = 1_200


def test_two_minutes_of_chaos_lose_nothing_without_a_gap():
    """Thirty faults, each kind at least once: the stores agree with the simulators' logs."""
    ended = subprocess.run(
        [*COMMAND, "--minutes", "2", "--rate", "500", "--seed", "1", "--faults-per-minute", "15"],
        cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=False,
    )  # fmt: skip

    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_an_interrupted_run_leaves_no_process():
    """Ctrl-C while a fault lasts: every process of the run ends, and no other."""
    options = ["--faults-per-minute", "60", "--only", "postgres_freeze,freeze,link_stall"]
    running = subprocess.Popen(
        [*COMMAND, "--minutes", "1", *options],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    directory = re.fullmatch("logs: (.*)\n", running.stderr.readline())[1]
    for line in running.stderr:
        if line.startswith("fault #2"):
            break
    running.send_signal(signal.SIGINT)
    _, output = running.communicate(timeout=120)

    assert running.returncode == 130, output
    assert leftovers(Path(directory)) == []

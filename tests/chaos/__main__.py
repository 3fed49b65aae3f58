"""
Break a whole pipeline at random and compare what was sent with what is stored: `make chaos`.

Servers and every part of the pipeline run as processes on this machine, all connections between
them lead through proxies, and a seeded plan injects faults. Afterwards the venue's own log is
compared with Postgres as a multiset. The exit code is 1 on a violation, 130 after Ctrl-C.
"""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks import report
from tests.chaos.processes import ROOT, leftovers
from tests.chaos.report import table
from tests.chaos.run import Options, Result, run
from tests.chaos.spool_disk import leave_mount_namespace
from tests.chaos.stack import say

SHOWN = 20  # violations
INTERRUPTED = 130
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
TITLE = "Faults at random"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="make chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=2.0, help="how long faults are injected")
    parser.add_argument("--rate", type=float, default=500.0, help="trades per second")
    parser.add_argument("--seed", type=int, default=1, help="of the plan of faults")
    parser.add_argument("--faults-per-minute", type=float, default=10.0)
    parser.add_argument(
        "--only", type=lambda text: tuple(text.split(",")), default=(), help="kinds of faults"
    )
    parser.add_argument(
        "--write-results", action="store_true", help="write the table into benchmarks/RESULTS.md"
    )
    parser.add_argument("--keep", action="store_true", help="keep the logs of a clean run")
    return parser.parse_args()


def main() -> int:
    """Run; return the exit code."""
    given = arguments()
    leave_mount_namespace()
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    directory.chmod(0o755)  # Postgres' user must enter it
    say(f"logs: {directory}")
    options = Options(
        given.minutes, given.rate, given.seed, given.faults_per_minute, given.only, directory
    )
    try:
        result = asyncio.run(_interruptible(options))
    except asyncio.CancelledError:
        say(f"interrupted; logs: {directory}")
        return INTERRUPTED
    result.problems += [f"{name} is still running" for name in leftovers(directory)]
    print(table(result))
    if given.write_results:
        text = f"{report.machine()}. {repetition(options)}\n\n{table(result)}"
        report.write(RESULTS, {TITLE: text}, order=[])
    return conclude(result, options, keep=given.keep)


async def _interruptible(options: Options) -> Result:
    """Run. The first Ctrl-C or SIGTERM ends the run in order; further ones are ignored."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _interrupt, task)
    return await run(options)


def _interrupt(task: "asyncio.Task[Result]") -> None:
    if not task.cancelling():
        say("ending all processes")
        task.cancel()


def repetition(options: Options) -> str:
    """Return how to repeat a run."""
    arguments = (
        f"--minutes {options.minutes:g} --rate {options.rate:g} --seed {options.seed} "
        f"--faults-per-minute {options.faults_per_minute:g}"
    )
    if options.only:
        arguments += f" --only {','.join(options.only)}"
    return f'Repeat: make chaos ARGS="{arguments}"'


def conclude(result: Result, options: Options, *, keep: bool) -> int:
    """Print the violations, or remove the logs; return the exit code."""
    violations = result.violations
    if not violations:
        if not keep:
            shutil.rmtree(options.directory, ignore_errors=True)
        return 0
    for text in violations[:SHOWN]:
        print(f"violation: {text}")
    if len(violations) > SHOWN:
        print(f"... and {len(violations) - SHOWN} more")
    print(f"{len(violations)} violations. {repetition(options)}")
    print(f"logs: {options.directory}")
    return 1


if __name__ == "__main__":
    sys.exit(main())

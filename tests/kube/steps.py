"""Progress of long steps on the terminal."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

# Deadlines of commands: a small one, a download or a compilation, and a run of all tests.
QUICK_S, BUILD_S, RUN_S = 300.0, 3_600.0, 14_400.0


@contextmanager
def step(name: str) -> Iterator[None]:
    """Print a line when a step begins and when it ends, with the seconds it took."""
    print(f"kube: {name} ...", file=sys.stderr, flush=True)
    start_s = time.monotonic()
    yield
    print(f"kube: {name}: {time.monotonic() - start_s:.0f} s", file=sys.stderr, flush=True)

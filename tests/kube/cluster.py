"""A cluster as the tests see it: kubectl, `deploy`, SQL, and commands of the documentation."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.kube.cache import HERE, REPOSITORY
from tests.kube.steps import QUICK_S

T = TypeVar("T")
NAMESPACE = "ray-pipeline"
OVERLAYS = HERE / "overlays"
POLL_S = 0.5
# The venue's logs name a connection by its key, and each key of Finnhub belongs to one connection.
API_KEYS = {
    "finnhub": ["sp500-1", "sp500-2", "top_gainers-0", "etf-1"],
    **{name: ["key"] for name in ("alpha_vantage", "fred", "fmp", "newsapi", "x", "coingecko")},
}


class CommandFailed(AssertionError):
    """A command ended with another status than 0; the text has its output."""


def run(command: str, *, timeout_s: float = 1200.0) -> str:
    """Run commands in a shell that stops at the first failure; return their output."""
    # A command that the documentation starts in the background ends with the shell.
    script = f"trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{command}"
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=REPOSITORY, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    if result.returncode != 0:
        raise CommandFailed(f"status {result.returncode} of: {command}\n{result.stdout}")
    return result.stdout


def kubectl(*arguments: str, namespace: str = NAMESPACE) -> str:
    """Run kubectl; return its output without the warnings."""
    command = ["kubectl", "-n", namespace, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=QUICK_S)
    if result.returncode != 0:
        raise CommandFailed(f"status {result.returncode} of {command}\n{result.stderr}")
    return result.stdout


def read(*arguments: str, namespace: str = NAMESPACE) -> Any:
    """Return what kubectl prints as JSON."""
    return json.loads(kubectl(*arguments, "-o", "json", namespace=namespace))


def pods(selector: str) -> list[Any]:
    """Return the pods with some labels that are not about to end."""
    items = read("get", "pods", "-l", selector)["items"]
    return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]


def is_ready(pod: Any) -> bool:
    """Return whether a pod's condition Ready is true."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def sql(query: str) -> list[list[str]]:
    """Return the rows of a query, every column as text."""
    output = kubectl(
        "exec", "postgres-0", "-c", "postgres", "--",
        "psql", "-U", "pipeline", "-d", "pipeline", "-AtF", "\t", "-c", query,
    )  # fmt: skip
    return [line.split("\t") for line in output.splitlines()]


def until(probe: Callable[[], T], *, timeout_s: float, expected: str) -> T:
    """Return the first true result of the probe; a command that fails counts as false."""
    deadline_s = time.monotonic() + timeout_s
    last: object = None
    while time.monotonic() < deadline_s:
        try:
            if result := probe():
                return result
            last = result
        except CommandFailed as error:
            last = error
        time.sleep(POLL_S)
    raise AssertionError(f"not within {timeout_s:g} s: {expected}; last: {last!r}\n{summary()}")


def summary() -> str:
    """Return the pods and the newest events, for the text of a failure."""
    try:
        events = kubectl("get", "events", "--sort-by=.lastTimestamp").splitlines()[-25:]
        return kubectl("get", "pods", "-o", "wide") + "\n".join(events)
    except CommandFailed as error:
        return str(error)


def with_api_keys(commands: str) -> str:
    """Put the API keys of the tests into the documented command that creates the secrets."""
    keys = json.dumps(API_KEYS)
    replaced, count = re.subn(r"--from-literal=api-keys='[^']*'", _literal(keys), commands)
    assert count == 1
    return replaced


def _literal(keys: str) -> str:
    return f"--from-literal=api-keys='{keys}'"


@contextmanager
def forwarded(target: str, port: int) -> Iterator[int]:
    """Forward a local port to a pod or a service while the block runs."""
    command = ["kubectl", "-n", NAMESPACE, "port-forward", target, f":{port}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert match is not None, f"kubectl port-forward {target} says {line!r}"
        yield int(match[1])
    finally:
        process.terminate()
        process.wait()

"""A run of `ray-pipeline` in a process group and a home of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg

# For pipelines that share servers and a provider.
SHARED = {
    # One for each connection: a producer without a key keeps its lease, and requests none.
    "PIPELINE_API_KEYS": json.dumps({"finnhub": [f"key-{number}" for number in range(1, 5)]}),
    "PIPELINE_STREAMS__MARKET_HOURS": "always",
    "PIPELINE_STREAMS__LEASE_TTL_S": "5",
    "PIPELINE_ARCHIVE__ENABLED": "false",
}
COMMAND = [sys.executable, "-m", "ray_pipeline.cli.main"]


class Run:
    """One `ray-pipeline` process with a home of its own."""

    def __init__(
        self, home: Path, *arguments: str, environment: dict[str, str] | None = None
    ) -> None:
        self.home = home
        self.database: str | None = None  # instead of the default one of the home
        self._dsn: str | None = None
        self.output = home.parent / f"{home.name}-{time.monotonic_ns()}.log"
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PIPELINE_") or name == "PIPELINE_KAFKA_LIBS"
        }
        self.environment = {
            **inherited,
            "PIPELINE_HOME": str(home),
            "PIPELINE_FEEDS__SP500__SHARDS": "2",
            "PIPELINE_STREAMS__LEASE_TTL_S": "3",
            # Forty Ray jobs would use most of the machine while the test runs.
            "PIPELINE_JOBS__ENABLED": "false",
            **(environment or {}),
        }
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments],
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=home.parent,
            )

    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def wait(self, timeout_s: float = 150) -> int:
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end:\n{self.text()[-3000:]}") from None

    def kill_everything(self) -> None:
        """Kill the command, Ray and every server (`kill -9`), as a power cut would."""
        parent = psutil.Process(self.process.pid)
        mine = [parent, *parent.children(recursive=True), *servers(self.home)]
        for process in mine:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self.process.wait(30)
        psutil.wait_procs(mine, timeout=30)

    def dsn(self) -> str:
        if self.database is not None:
            return self.database
        if self._dsn is None:
            self._dsn = local_env(self)["PIPELINE_POSTGRES__DSN"]
        return self._dsn

    def rows(self, query: str) -> list[tuple]:
        try:
            with psycopg.connect(self.dsn(), autocommit=True, connect_timeout=5) as connection:
                return connection.execute(query).fetchall()
        except (psycopg.Error, KeyError):
            self._dsn = None  # a restart may change the port
            return []

    def stored(self) -> int:
        return sum(self.stored_of_feeds().values())

    def stored_of_feeds(self) -> dict[str, int]:
        return dict(
            self.rows("SELECT feed, sum(stored)::bigint FROM stream_sequences GROUP BY feed")
        )

    def interrupt(self) -> None:
        """Interrupt the command, as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill_everything()
        subprocess.run(
            [*COMMAND, "local", "down"],
            env=self.environment,
            check=False,
            capture_output=True,
            timeout=120,
        )


def servers(home: Path) -> list[psutil.Process]:
    """Return the embedded servers of a home, found by the paths in their commands."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(home) in argument for argument in process.info["cmdline"] or ()):
            found += [process, *process.children(recursive=True)]
    return found


def local_env(run: Run) -> dict[str, str]:
    done = subprocess.run(
        [*COMMAND, "local", "env"],
        env=run.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    pairs = re.findall(r"^export (\w+)=(.*)$", done.stdout, re.MULTILINE)
    return {name: value.strip("'") for name, value in pairs}


def actors(run: Run, kind: str) -> list[psutil.Process]:
    """Return the processes of a kind of actor among the descendants of the command."""
    found = []
    for child in psutil.Process(run.process.pid).children(recursive=True):
        try:
            if f"ray::{kind}" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.NoSuchProcess:
            continue  # it has ended since the list was made
    return found

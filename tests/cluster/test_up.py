"""The whole pipeline as a user runs it: one command, real Ray, simulated feeds, things killed."""

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
import pytest

from tests.support import eventually_sync

COMMAND = [sys.executable, "-m", "ray_pipeline.cli"]


class Run:
    """One `ray-pipeline` process with a home of its own."""

    def __init__(
        self, home: Path, *arguments: str, environment: dict[str, str] | None = None
    ) -> None:
        self.home = home
        self.output = home.parent / f"{home.name}-{time.monotonic_ns()}.log"
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PIPELINE_") or name == "PIPELINE_KAFKA_LIBS"
        }
        self.environment = {
            **inherited,
            "PIPELINE_HOME": str(home),
            "PIPELINE_STREAMS__SP500_SHARDS": "2",
            "PIPELINE_STREAMS__LEASE_TTL_S": "3",
            "RAY_AUTH_MODE": "disabled",
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
        """Kill -9 of the command, of Ray, of every server: a power cut."""
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
        return local_env(self)["PIPELINE_POSTGRES__DSN"]

    def rows(self, query: str) -> list[tuple]:
        try:
            with psycopg.connect(self.dsn(), autocommit=True, connect_timeout=5) as connection:
                return connection.execute(query).fetchall()
        except (psycopg.Error, KeyError):
            return []

    def stored(self) -> int:
        found = self.rows("SELECT coalesce(sum(stored), 0)::bigint FROM stream_sequences")
        return found[0][0] if found else 0

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill_everything()
        subprocess.run(
            [*COMMAND, "local", "down"], env=self.environment, check=False, capture_output=True
        )


def servers(home: Path) -> list[psutil.Process]:
    """Return the embedded servers of a home, by the paths they were started with."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(home) in argument for argument in process.info["cmdline"] or ()):
            found += [process, *process.children(recursive=True)]
    return found


def local_env(run: Run) -> dict[str, str]:
    done = subprocess.run(
        [*COMMAND, "local", "env"], env=run.environment, capture_output=True, text=True, check=False
    )
    pairs = re.findall(r"^export (\w+)=(.*)$", done.stdout, re.MULTILINE)
    return {name: value.strip("'") for name, value in pairs}


@pytest.fixture
def start(tmp_path_factory):
    """A starter of runs that cleans up after itself."""
    runs = []
    base = tmp_path_factory.mktemp("up")
    for parent in (base, *base.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o011)

    def starter(name: str, *arguments: str, **environment: str) -> Run:
        run = Run(base / name, *arguments, environment=environment)
        runs.append(run)
        return run

    yield starter
    for run in runs:
        run.close()


def actors(run: Run, kind: str) -> list[psutil.Process]:
    """Return the processes of a kind of actor, found below the command that started them."""
    children = psutil.Process(run.process.pid).children(recursive=True)
    return [child for child in children if f"ray::{kind}" in " ".join(child.cmdline())]


def test_a_demo_stores_audits_and_cleans_up_while_actors_are_killed(start, tmp_path):
    """A producer and every consumer die by kill -9; Ray brings them back; the audit is clean."""
    report = tmp_path / "report.json"
    run = start("demo", "demo", "--for", "50", "--report", str(report))
    eventually_sync(lambda: run.stored() > 500, timeout_s=90, what="rows")

    for kind in ("Producer", "Consumer"):
        victims = eventually_sync(lambda kind=kind: actors(run, kind), what=f"{kind} processes")
        before = run.stored()
        for victim in victims[:1] if kind == "Producer" else victims:
            victim.send_signal(signal.SIGKILL)
        eventually_sync(lambda before=before: run.stored() > before + 500, timeout_s=60)

    assert run.wait() == 0, run.text()[-3000:]
    audit = json.loads(report.read_text())
    assert audit["clean"]
    assert audit["feeds"]["sp500"]["stored"] > 1_000
    assert audit["feeds"]["bithumb"]["stored"] > 100
    assert audit["feeds"]["top_gainers"]["stored"] > 0
    assert audit["feeds"]["sp500"]["gaps"] >= 1  # the producer's outage
    assert servers(run.home) == []
    assert "SIMULATED" in run.text()
    assert "Ray dashboard: http" in run.text()


def test_ctrl_c_ends_it_with_a_summary(start):
    """One signal, a drained pipeline, exit code 0."""
    run = start("interrupted", "demo")
    eventually_sync(lambda: run.stored() > 100, timeout_s=90, what="rows")

    run.process.send_signal(signal.SIGINT)

    assert run.wait() == 0, run.text()[-3000:]
    assert "clean: everything is explained" in run.text()


def test_with_a_durable_broker_a_power_cut_loses_nothing(start, tmp_path):
    """`up`, kill everything, `up` again: the audit is clean, the outage is in gaps."""
    report = tmp_path / "report.json"
    first = start("durable", "up", "--broker", "kafka")
    eventually_sync(lambda: first.stored() > 1_000, timeout_s=90, what="rows")
    first.kill_everything()

    second = start("durable", "up", "--for", "30", "--report", str(report))

    assert second.wait() == 0, second.text()[-3000:]
    audit = json.loads(report.read_text())
    assert audit["clean"]
    assert audit["feeds"]["sp500"]["gaps"] >= 2  # both shards


def test_two_homes_run_side_by_side(start, tmp_path):
    """No port is assumed to be free, no name to be one's own."""
    runs = [
        start(name, "demo", "--for", "25", "--report", str(tmp_path / f"{name}.json"))
        for name in ("left", "right")
    ]

    for run in runs:
        assert run.wait(240) == 0, run.text()[-3000:]
    for name in ("left", "right"):
        audit = json.loads((tmp_path / f"{name}.json").read_text())
        assert audit["clean"]
        assert audit["feeds"]["sp500"]["stored"] > 0


def test_keys_decide_what_is_covered(start):
    """With one key, one shard runs, and the others say what is missing."""
    simulator = subprocess.Popen(
        [sys.executable, "-m", "ray_pipeline.simulators", "finnhub", "--until-stdin-ends"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        url = json.loads(simulator.stdout.readline())["url"]
        run = start(
            "keys", "up", "--for", "30",
            PIPELINE_API_KEYS='{"finnhub": ["only-one"]}',
            PIPELINE_FINNHUB__WS_URL=url,
            PIPELINE_BITHUMB__WS_URL="ws://127.0.0.1:1",
            PIPELINE_BITHUMB__REST_URL="http://127.0.0.1:1",
            PIPELINE_STREAMS__MARKET_HOURS="always",
        )  # fmt: skip
        states = eventually_sync(
            lambda: (
                dict(
                    run.rows(
                        "SELECT shard, state FROM producer_epochs WHERE feed = 'sp500' "
                        "AND state IN ('collecting', 'no_key')"
                    )
                )
                == {1: "collecting", 2: "no_key"}
            ),
            timeout_s=90,
        )
        assert states
        done = subprocess.run(
            [*COMMAND, "status", "--json"],
            env={**run.environment, **local_env(run)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "PIPELINE_API_KEYS" in done.stdout
        assert "only-one" not in done.stdout + run.text()
    finally:
        simulator.communicate("")

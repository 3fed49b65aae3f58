"""The whole pipeline as a user runs it: one command, Ray, simulated feeds, killed processes."""

import json
import subprocess
import sys

from tests.cluster.support import COMMAND, local_env
from tests.support import end, eventually_sync, next_line


def test_with_a_durable_broker_a_power_cut_loses_nothing(start, tmp_path):
    """After killing every process, `up` again: no record is lost, and `gaps` has the outage."""
    report = tmp_path / "report.json"
    first = start("durable", "up", "--broker", "kafka")
    # A shard that has not collected yet has no outage that could be a gap.
    collecting = (
        "SELECT shard FROM producer_epochs WHERE feed = 'sp500' AND safe_at IS NOT NULL "
        "GROUP BY shard"
    )
    eventually_sync(
        lambda: len(first.rows(collecting)) == 2, timeout_s=120, what="data of both shards"
    )
    eventually_sync(lambda: first.stored() > 1_000, timeout_s=90, what="rows")
    first.kill_everything()

    second = start("durable", "up", "--report", str(report))
    outages = "SELECT 1 FROM gaps WHERE feed = 'sp500' GROUP BY shard"
    eventually_sync(
        lambda: len(second.rows(outages)) == 2, timeout_s=120, what="the outage of both shards"
    )
    second.interrupt()

    assert second.wait() == 0, second.text()[-3000:]
    audit = json.loads(report.read_text())
    assert audit["clean"]
    assert audit["feeds"]["sp500"]["gaps"] >= 2  # both shards


def test_two_homes_run_side_by_side_and_keys_decide_what_is_covered(start, tmp_path):
    """No port is fixed; with one key one shard runs, and the other shards report the reason."""
    report = tmp_path / "report.json"
    demo = start("left", "demo", "--for", "30", "--report", str(report))
    eventually_sync(lambda: demo.stored_of_feeds().get("sp500"), timeout_s=120, what="its rows")
    simulator = subprocess.Popen(
        [sys.executable, "-m", "ray_pipeline.simulators", "finnhub", "--until-stdin-ends"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        url = json.loads(next_line(simulator, "the address of the simulator"))["url"]
        run = start(
            "right", "up",
            PIPELINE_API_KEYS='{"finnhub": ["only-one"]}',
            PIPELINE_FINNHUB__WS_URL=url,
            PIPELINE_BITHUMB__WS_URL="ws://127.0.0.1:1",
            PIPELINE_BITHUMB__REST_URL="http://127.0.0.1:1",
            PIPELINE_UPBIT__WS_URL="ws://127.0.0.1:1",
            PIPELINE_UPBIT__REST_URL="http://127.0.0.1:1",
            PIPELINE_STREAMS__MARKET_HOURS="always",
        )  # fmt: skip
        states = (
            "SELECT shard, state FROM producer_epochs WHERE feed = 'sp500' "
            "AND state IN ('collecting', 'no_key')"
        )
        eventually_sync(
            lambda: dict(run.rows(states)) == {1: "collecting", 2: "no_key"},
            timeout_s=120,
            what="one shard with a key, one without",
        )
        done = subprocess.run(
            [*COMMAND, "status", "--json"],
            env={**run.environment, **local_env(run)},
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        assert "PIPELINE_API_KEYS" in done.stdout
        assert "only-one" not in done.stdout + run.text()
        assert demo.wait(240) == 0, demo.text()[-3000:]
        run.interrupt()
        assert run.wait() == 0, run.text()[-3000:]
    finally:
        end(simulator)
    audit = json.loads(report.read_text())
    assert audit["clean"]
    assert audit["feeds"]["sp500"]["stored"] > 0

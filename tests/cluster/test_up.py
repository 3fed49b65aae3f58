"""The whole pipeline as a user runs it: one command, Ray, simulated feeds, killed processes."""

import json
import re
import signal
import subprocess
import sys
from urllib.request import Request, urlopen

from ray_pipeline.feeds.feed_registry import FEEDS
from tests.cluster.notebook import explore
from tests.cluster.support import COMMAND, actors, local_env, servers
from tests.support import eventually_sync


def test_a_demo_is_explored_survives_killed_actors_and_ends_clean_on_ctrl_c(
    start, tmp_path, monkeypatch
):
    """The notebook runs; then a producer and every consumer are killed and restart."""
    report = tmp_path / "report.json"
    run = start("demo", "demo", "--report", str(report))
    eventually_sync(
        lambda: len(run.stored_of_feeds()) == len(FEEDS), timeout_s=120, what="every feed's rows"
    )
    assert asked(run, "ready")["ready"]
    assert asked(run, "v1/health")["simulated"] == [
        *(feed.name for feed in FEEDS), "batch datasets",
    ]  # fmt: skip

    explore(run, monkeypatch)

    (metrics,) = re.findall(r"metrics: (http\S+)", run.text())
    eventually_sync(
        lambda: b"\nray_pipeline_records_stored_total" in urlopen(metrics, timeout=10).read(),
        timeout_s=60, what="the figures",
    )  # fmt: skip

    for kind in ("Producer", "Consumer"):
        victims = eventually_sync(lambda kind=kind: actors(run, kind), what=f"{kind} processes")
        before = run.stored()
        for victim in victims[:1] if kind == "Producer" else victims:
            victim.send_signal(signal.SIGKILL)
        eventually_sync(lambda before=before: run.stored() > before + 500, timeout_s=60)
    outages = "SELECT 1 FROM gaps WHERE feed = 'sp500'"
    eventually_sync(lambda: run.rows(outages), timeout_s=60, what="the producer's outage in gaps")
    run.interrupt()

    assert run.wait() == 0, run.text()[-3000:]
    audit = json.loads(report.read_text())
    assert audit["clean"]
    assert audit["feeds"]["sp500"]["stored"] > 500
    assert audit["feeds"]["bithumb"]["stored"] > 0
    assert audit["feeds"]["top_gainers"]["stored"] > 0
    assert servers(run.home) == []
    assert "SIMULATED" in run.text()
    assert "Ray dashboard: http" in run.text()
    assert "clean: everything is explained" in run.text()


def asked(run, path: str) -> dict:
    """Return an answer of the API that the pipeline serves."""
    url, token = re.search(r"page: (http://127\S+)#token=(\S+)", run.text()).groups()
    request = Request(url + path, headers={"Authorization": f"Bearer {token}"})
    with urlopen(request, timeout=10) as answer:
        return json.load(answer)


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
        url = json.loads(simulator.stdout.readline())["url"]
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
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "PIPELINE_API_KEYS" in done.stdout
        assert "only-one" not in done.stdout + run.text()
        assert demo.wait(240) == 0, demo.text()[-3000:]
        run.interrupt()
        assert run.wait() == 0, run.text()[-3000:]
    finally:
        simulator.communicate("")
    audit = json.loads(report.read_text())
    assert audit["clean"]
    assert audit["feeds"]["sp500"]["stored"] > 0

"""Generations on separate Ray clusters that share one Kafka, Postgres and Redis."""

import json

from tests.cluster.support import SHARED, Run
from tests.support import eventually_sync


def holders(run: Run) -> set[int]:
    """Return the generations that hold a current lease of a consumer or producer."""
    rows = run.rows(
        "SELECT DISTINCT generation FROM leases WHERE holder IS NOT NULL AND expires_at > now()"
        " AND (resource LIKE 'consumer/%' OR resource LIKE 'producer/%')"
    )
    return {generation for (generation,) in rows}


def test_a_newer_release_takes_over_without_losing_or_doubling_a_record(
    start, stores, provider, tmp_path
):
    """Generation 2 cannot reach the broker and takes no lease; 3 takes over without a loss."""
    servers, env = stores
    report = tmp_path / "report.json"
    first = start("one", "up", **SHARED, **provider, **env, PIPELINE_RAY__GENERATION="1")
    eventually_sync(lambda: servers.stored() > 500, timeout_s=120, what="rows of the first")

    wrong = env | {"PIPELINE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    second = start("two", "up", **SHARED, **provider, **wrong, PIPELINE_RAY__GENERATION="2")
    assert second.wait() != 0
    assert "Kafka" in second.text()
    assert "fix:" in second.text()
    assert holders(servers) == {1}
    before = servers.stored()
    eventually_sync(lambda: servers.stored() > before + 300, timeout_s=60, what="rows still")

    third = start(
        "three", "up", "--report", str(report),
        **SHARED, **provider, **env, PIPELINE_RAY__GENERATION="3",
    )  # fmt: skip
    eventually_sync(lambda: holders(servers) == {3}, timeout_s=120, what="the hand-over")
    before = servers.stored()
    first.interrupt()
    assert first.wait() == 0, first.text()[-3000:]
    eventually_sync(lambda: servers.stored() > before + 300, timeout_s=60, what="rows of the next")
    third.interrupt()

    assert third.wait() == 0, third.text()[-3000:]
    audit = json.loads(report.read_text())
    assert audit["clean"]
    assert audit["feeds"]["sp500"]["duplicates"] == 0
    assert audit["feeds"]["sp500"]["missing"] == 0

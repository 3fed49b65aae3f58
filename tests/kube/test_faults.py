"""Every pod deleted in turn, under load. The venue's own log is the oracle."""

import pytest

from tests.kube.cluster import pods
from tests.kube.faults import measure_deletion

COMPONENT = "app.kubernetes.io/component"
PODS = (
    "ray.io/node-type=worker",
    "ray.io/node-type=head",
    f"{COMPONENT}=redis",
    f"{COMPONENT}=gcs-redis",
    f"{COMPONENT}=postgres",
    "strimzi.io/cluster=kafka",
    f"{COMPONENT}=keeper",
)


@pytest.mark.parametrize("force", [False, True], ids=["deleted", "killed"])
@pytest.mark.parametrize("selector", PODS, ids=lambda selector: selector.rpartition("=")[2])
def test_a_pod_costs_no_record_without_a_gap(profile: str, selector: str, force: bool):
    """A record may be lost only in a recorded gap, and none is stored twice."""
    if not pods(selector):
        pytest.skip(f"{profile} has no such pod")

    cost = measure_deletion(profile, selector, force=force)

    assert cost.unexplained == 0, cost.violations
    assert cost.doubled == 0, cost.violations

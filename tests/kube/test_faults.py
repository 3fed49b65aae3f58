"""Every pod deleted in turn, under load. The venue's own log is the oracle."""

import pytest

from tests.kube.cluster import is_ready, kubectl, pods
from tests.kube.faults import Cost, measure, measure_deletion

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

RAY = "ray.io/node-type"


def ray_restarts() -> dict[str, int]:
    """Return how often the container of each pod of Ray was restarted."""
    return {
        pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["restartCount"]
        for pod in pods(RAY)
    }


@pytest.mark.parametrize("force", [False, True], ids=["deleted", "killed"])
@pytest.mark.parametrize("selector", PODS, ids=lambda selector: selector.rpartition("=")[2])
def test_a_pod_costs_no_record_without_a_gap(profile: str, selector: str, force: bool):
    """A record may be lost only in a recorded gap, and none is stored twice."""
    if not pods(selector):
        pytest.skip(f"{profile} has no such pod")

    cost = measure_deletion(profile, selector, force=force)

    assert cost.unexplained == 0, cost.violations
    assert cost.doubled == 0, cost.violations


@pytest.mark.parametrize("profile", ["ha"], indirect=True)
def test_the_loss_of_the_heads_state_costs_no_record_without_a_gap(profile: str):
    """The Redis of Ray's head comes back empty, as after the loss of its disk."""
    selector = f"{COMPONENT}=gcs-redis"
    pod = pods(selector)[0]["metadata"]
    claim = f"data-{pod['name']}"
    assert claim in kubectl("get", "pvc", "-o", "name")

    def lose_volume() -> None:
        kubectl("delete", "pvc", claim, "--wait=false")
        kubectl("delete", "pod", pod["name"], "--wait=false")

    restarts = ray_restarts()

    def is_over() -> bool:
        # Ray's nodes notice the loss after the Redis is ready: the head starts again without its
        # state, and the workers with it.
        ready = all(is_ready(item) for item in (*pods(selector), *pods(RAY)))
        return ready and all(
            ray_restarts().get(name, 0) > count for name, count in restarts.items()
        )

    cost = measure(Cost(profile, "lose the volume of gcs-redis"), lose_volume, is_over)

    assert cost.unexplained == 0, cost.violations
    assert cost.doubled == 0, cost.violations

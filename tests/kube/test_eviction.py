"""Disruption budgets: a drain evicts one worker at a time."""

import json

import pytest

from tests.kube.cluster import NAMESPACE, CommandFailed, is_ready, kubectl, pods, run, until
from tests.kube.feeds import wait_for_fresh_rows

WORKERS = "ray.io/node-type=worker"


def evict(name: str) -> None:
    """Request an eviction, as `kubectl drain` does for each pod of a node."""
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": NAMESPACE},
    }
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction"
    run(f"kubectl create --raw {path} -f - <<< '{json.dumps(body)}'")


@pytest.mark.parametrize("profile", ["ha"], indirect=True)
def test_one_worker_is_evicted_and_the_next_only_after_its_replacement(profile: str):
    """The budget admits the first eviction, refuses the second, and admits it later."""
    wait_for_fresh_rows()
    first, second = (pod["metadata"]["name"] for pod in pods(WORKERS))

    evict(first)
    with pytest.raises(CommandFailed, match="disruption budget"):
        evict(second)

    until(
        lambda: sum(map(is_ready, pods(WORKERS))) == 2,
        timeout_s=300.0,
        expected="a replacement of the evicted worker",
    )
    evict(second)
    wait_for_fresh_rows()


@pytest.mark.parametrize("profile", ["dev"], indirect=True)
def test_a_server_with_a_single_worker_can_be_drained(profile: str):
    """No budget blocks the drain of `dev`; afterwards everything starts again."""
    node = kubectl("get", "nodes", "-o", "name").strip()
    run(
        f"kubectl drain {node} --ignore-daemonsets --delete-emptydir-data --force "
        f"--pod-selector='ray.io/node-type=worker' --timeout=180s"
    )
    run(f"kubectl uncordon {node}")
    wait_for_fresh_rows()

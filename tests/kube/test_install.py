"""Each profile from an empty cluster by the commands of docs/kubernetes.md."""

import json
from collections import Counter

import pytest

from tests.kube.cluster import kubectl, pods, read, run, sql, until
from tests.kube.documented import documented_commands
from tests.kube.feeds import wait_for_fresh_rows

# The producers of ETFs look for symbols every 300 s.
FIRST_ROWS_S = 480.0


@pytest.mark.smoke
def test_every_feed_stores_rows(profile: str):
    """The shipped NetworkPolicies let pods reach the providers."""
    # The symbols of this feed come from a job that is scheduled on weekdays only.
    worker = kubectl("get", "pods", "-l", "ray.io/node-type=worker", "-o", "name").splitlines()[0]
    kubectl("exec", worker, "-c", "ray-worker", "--", "ray-pipeline", "run", "top_gainers")

    wait_for_fresh_rows(timeout_s=FIRST_ROWS_S)


@pytest.mark.smoke
def test_the_status_is_ready(profile: str):
    """`deploy status` ends with 0."""
    run("ray-pipeline deploy status")


@pytest.mark.smoke
def test_a_batch_run_succeeds(profile: str):
    """A job that is submitted as documented stores its dataset."""
    block = documented_commands("One-off runs and backfills", "ray-pipeline run cpi")
    forward, *authentication, submit = block.splitlines()[:4]
    wait = "until curl -s localhost:8265 > /dev/null; do sleep 0.2; done"
    run("\n".join([forward, *authentication, wait, submit]))
    assert int(sql("SELECT count(*) FROM cpi")[0][0]) > 0


@pytest.mark.parametrize("profile", ["dev"], indirect=True)
def test_the_example_of_a_ray_job_succeeds(profile: str):
    """KubeRay runs kuberay/jobs/run-once.yaml."""

    def has_succeeded() -> bool:
        status = read("get", "rayjob", "run-once").get("status", {})
        return bool(status.get("jobStatus") == "SUCCEEDED")

    kubectl("apply", "-f", "kuberay/jobs/run-once.yaml")
    try:
        until(has_succeeded, timeout_s=300.0, expected="the RayJob succeeds")
    finally:
        kubectl("delete", "rayjob", "run-once")


@pytest.mark.parametrize("profile", ["ha"], indirect=True)
def test_the_actors_are_on_every_worker(profile: str):
    """A worker that ends takes a part of the feeds with it, and its memory holds its actors."""
    head = kubectl("get", "pods", "-l", "ray.io/node-type=head", "-o", "name").splitlines()[0]
    workers = len(pods("ray.io/node-type=worker"))
    listing = kubectl(
        "exec", head, "-c", "ray-head", "--",
        "ray", "list", "actors", "--format", "json", "--limit", "500",
    )  # fmt: skip
    actors = json.loads(listing[listing.index("[") :])
    per_node = Counter(
        actor["node_id"]
        for actor in actors
        if actor["state"] == "ALIVE" and actor["class_name"] in ("ProducerActor", "ConsumerActor")
    )

    assert len(per_node) == workers, per_node
    assert max(per_node.values()) <= 2 * min(per_node.values()), per_node

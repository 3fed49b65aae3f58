"""Whether KubeRay has acted on a spec, and whether pods run it."""

from datetime import UTC, datetime, timedelta

import pytest

from ray_pipeline.kubernetes.deploy.objects import Json
from ray_pipeline.kubernetes.deploy.operator_state import (
    LONG_AGO,
    REACTION,
    Operator,
    changed_at,
    outdated_pods,
    running_since,
    same_containers,
)

CHANGED = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
LATER = CHANGED + REACTION


def entry(time: str, field: str = "f:spec", **others: str) -> Json:
    return {"time": time, "fieldsV1": {field: {}}, **others}


def live(*entries: Json) -> Json:
    return {"metadata": {"managedFields": list(entries)}}


def test_the_newest_change_of_the_spec_counts() -> None:
    """Not a change of the status or of a label."""
    obj = live(
        entry("2026-11-01T11:00:00Z"),
        entry("2026-11-01T12:00:00Z"),
        entry("2026-11-01T13:00:00Z", subresource="status"),
        entry("2026-11-01T14:00:00Z", "f:metadata"),
    )

    assert changed_at(obj) == CHANGED
    assert changed_at(live()) == LONG_AGO


@pytest.mark.parametrize(
    ("running_since", "now", "acted"),
    [
        (CHANGED - timedelta(days=1), LATER, True),
        (CHANGED - timedelta(days=1), LATER - timedelta(seconds=1), False),
        (CHANGED + timedelta(days=1), CHANGED + timedelta(days=1), False),
        (CHANGED + timedelta(days=1), LATER + timedelta(days=1), True),
        (LONG_AGO, LATER, True),
        (None, LATER + timedelta(days=1), False),
    ],
)
def test_an_operator_needs_time_to_react(
    running_since: datetime | None, now: datetime, acted: bool
) -> None:
    """After the change, and after its own start."""
    obj = live(entry("2026-11-01T12:00:00Z"))

    assert Operator(running_since, now).has_acted(obj) is acted


def an_operator(status: str, since: str, **metadata: str) -> Json:
    ready = {"type": "Ready", "status": status, "lastTransitionTime": since}
    return {"metadata": metadata, "status": {"conditions": [ready]}}


def test_an_operator_runs_while_one_of_its_pods_is_ready() -> None:
    """The one that is ready longest; not one that ends or starts."""
    pods = [
        an_operator("True", "2026-11-01T13:00:00Z"),
        an_operator("True", "2026-11-01T12:00:00Z"),
        an_operator("False", "2026-11-01T11:00:00Z"),
        an_operator("True", "2026-11-01T10:00:00Z", deletionTimestamp="2026-11-01T10:30:00Z"),
    ]

    assert running_since(pods) == CHANGED
    assert running_since(pods[2:]) is None


VARIABLE = {"name": "A", "value": "1"}
OF_SECRET = {"name": "B", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "b"}}}
DEFAULTED = {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}
AS_STORED = {"name": "C", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "x"}}}


def template(image: str = "app:1", *variables: Json) -> Json:
    return {"spec": {"containers": [{"name": "ray", "image": image, "env": list(variables)}]}}


def cluster(head: Json, worker: Json) -> Json:
    return live(entry("2026-11-01T12:00:00Z")) | {
        "spec": {
            "headGroupSpec": {"template": head},
            "workerGroupSpecs": [{"groupName": "collectors", "template": worker}],
        }
    }


def pod(running: Json, *, group: str = "collectors", at: str = "2026-11-01T11:00:00Z") -> Json:
    kind = "worker" if group else "head"
    labels = {"ray.io/node-type": kind, "ray.io/group": group or "headgroup"}
    return {"metadata": {"creationTimestamp": at, "labels": labels}, **running}


@pytest.mark.parametrize(
    ("running", "outdated"),
    [
        (pod(template("app:1", VARIABLE, OF_SECRET, AS_STORED)), False),
        (pod(template("app:1", AS_STORED, {"name": "RAY_IP"}, OF_SECRET, VARIABLE)), False),
        (pod(template("app:0", VARIABLE, OF_SECRET, AS_STORED)), True),
        (pod(template("app:1", {"name": "A", "value": "0"}, OF_SECRET, AS_STORED)), True),
        (pod(template("app:1", VARIABLE)), True),
        (pod({"spec": {"containers": []}}), True),
        (pod(template("mirror/app:1", VARIABLE), at="2026-11-01T12:00:00Z"), False),
        (pod(template("other:1"), group="unknown"), False),
        (pod(template("app:2"), group=""), False),
        (pod(template("app:1"), group=""), True),
    ],
)
def test_a_pod_with_another_image_or_variable_is_outdated(running: Json, outdated: bool) -> None:
    """Additions of KubeRay and the server do not count, nor does a pod as young as the spec."""
    present = cluster(template("app:2"), template("app:1", VARIABLE, OF_SECRET, DEFAULTED))

    assert (outdated_pods(present, [running]) == [running]) is outdated


def test_a_cluster_is_compared_with_its_service() -> None:
    """Group by group; a group that the service no longer has starts another cluster anyway."""
    current = cluster(template("app:1", VARIABLE), template("app:1"))
    service = {"spec": {"rayClusterConfig": current["spec"]}}
    newer = {"spec": {"rayClusterConfig": cluster(template("app:1"), template("app:2"))["spec"]}}

    assert same_containers(current, service)
    assert not same_containers(current, newer)

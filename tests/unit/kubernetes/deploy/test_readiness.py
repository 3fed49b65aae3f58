"""When an object counts as ready."""

import pytest

from ray_pipeline.kubernetes.deploy.objects import Json
from ray_pipeline.kubernetes.deploy.readiness import readiness


def an_object(kind: str, status: Json, *, generation: int = 2, **spec: object) -> Json:
    metadata = {"name": "a", "generation": generation}
    return {"kind": kind, "metadata": metadata, "spec": spec, "status": status}


def condition(kind: str, status: str = "True") -> Json:
    return {"conditions": [{"type": kind, "status": status}]}


SEEN: Json = {"observedGeneration": 2}
STALE: Json = {"observedGeneration": 1}
RUNNING = {"rayClusterName": "a-1", "applicationStatuses": {"s": {"status": "RUNNING"}}}
STARTING = {"rayClusterName": "a-1", "applicationStatuses": {"s": {"status": "DEPLOYING"}}}
SERVES = SEEN | condition("Ready") | {"activeServiceStatus": RUNNING}


@pytest.mark.parametrize(
    ("live", "state"),
    [
        (None, "missing"),
        (an_object("ConfigMap", {}), "ready"),
        (an_object("Namespace", {"phase": "Active"}), "ready"),
        (an_object("Namespace", {"phase": "Terminating"}), "waiting"),
        (an_object("CustomResourceDefinition", condition("Established")), "ready"),
        (an_object("CustomResourceDefinition", {}), "waiting"),
        (an_object("HelmChart", {}), "waiting"),
        (an_object("HelmChart", {"jobName": "helm-install-a"}), "ready"),
        (an_object("HelmChart", condition("Failed")), "failed"),
        (an_object("Job", {}), "waiting"),
        (an_object("Job", condition("Complete")), "ready"),
        (an_object("Job", condition("Failed")), "failed"),
        (an_object("Job", {}, suspend=True), "ready"),
        (an_object("Deployment", SEEN | {"readyReplicas": 1, "updatedReplicas": 1}), "ready"),
        (an_object("Deployment", SEEN | {"readyReplicas": 1, "updatedReplicas": 0}), "waiting"),
        (an_object("Deployment", STALE | {"readyReplicas": 1, "updatedReplicas": 1}), "waiting"),
        (an_object("StatefulSet", SEEN | {"readyReplicas": 2}, replicas=3), "waiting"),
        (an_object("DaemonSet", SEEN | {"numberReady": 1, "desiredNumberScheduled": 2}), "waiting"),
        (an_object("Kafka", SEEN | condition("Ready")), "ready"),
        (an_object("Kafka", STALE | condition("Ready")), "waiting"),
        (an_object("KafkaTopic", SEEN | condition("NotReady")), "waiting"),
        (an_object("KafkaNodePool", SEEN), "ready"),
        (an_object("RayCluster", SEEN | {"state": "ready"}), "ready"),
        (an_object("RayCluster", STALE | {"state": "ready"}), "waiting"),
        (
            an_object(
                "RayCluster",
                SEEN | {"state": "ready", "desiredWorkerReplicas": 3, "readyWorkerReplicas": 2},
            ),
            "waiting",
        ),
        (an_object("RayCluster", SEEN | {"state": "failed", "reason": "x"}), "waiting"),
        (an_object("RayService", SERVES), "ready"),
        (an_object("RayService", SERVES | STALE), "waiting"),
        (an_object("RayService", SERVES | {"activeServiceStatus": STARTING}), "waiting"),
        (an_object("RayService", SERVES | {"activeServiceStatus": {}}), "waiting"),
        (
            an_object("RayService", SERVES | {"pendingServiceStatus": {"rayClusterName": "a-2"}}),
            "waiting",
        ),
        (an_object("RayService", {}, suspend=True), "ready"),
        (an_object("RayJob", {"jobDeploymentStatus": "Running"}), "ready"),
        (an_object("RayJob", {"jobDeploymentStatus": "Failed"}), "failed"),
        (an_object("PersistentVolumeClaim", {"phase": "Pending"}), "ready"),
        (an_object("PersistentVolumeClaim", {"phase": "Lost"}), "failed"),
    ],
)
def test_readiness(live: Json | None, state: str) -> None:
    """By what its controller says of the present spec; an older report counts for nothing."""
    assert readiness(live).state == state


def test_an_object_that_is_being_deleted_is_not_ready() -> None:
    """Whatever its status still says."""
    live = an_object("Kafka", SEEN | condition("Ready"))
    live["metadata"] = {"name": "a", "deletionTimestamp": "2026-11-23T00:00:00Z"}

    assert readiness(live).state == "waiting"


def test_the_old_cluster_of_a_release_that_is_stuck_is_named() -> None:
    """It goes on serving: nothing is lost while the new one is not well."""
    pending = SERVES | {"pendingServiceStatus": {"rayClusterName": "a-2"}}

    assert readiness(an_object("RayService", pending)).detail == (
        "cluster a-2 is not healthy yet; a-1 goes on serving"
    )

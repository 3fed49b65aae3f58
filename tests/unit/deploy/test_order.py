"""In which order objects are applied."""

import pytest

from ray_pipeline.deploy.objects import Json
from ray_pipeline.deploy.order import KEPT, REST, wave_of, waves


def an_object(kind: str, name: str = "a") -> Json:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("Namespace", "HelmChart"),
        ("HelmChart", "Secret"),
        ("Secret", "ConfigMap"),
        ("ConfigMap", "StatefulSet"),
        ("StatefulSet", "Kafka"),
        ("Kafka", "KafkaTopic"),
        ("KafkaUser", "Job"),
        ("Job", "RayService"),
        ("RayCluster", "PodMonitor"),
        ("RayService", "Ingress"),
    ],
)
def test_what_others_need_comes_first(first: str, then: str) -> None:
    """Whatever the order of the manifests."""
    assert wave_of(first) < wave_of(then)


def test_waves_hold_every_object_once() -> None:
    """In the order given within a wave; what has no place of its own comes last."""
    kinds = ["Ingress", "RayService", "Secret", "PodMonitor", "Job", "Secret"]
    objects = [an_object(kind, str(place)) for place, kind in enumerate(kinds)]

    found = waves(objects)

    assert [obj for wave in found for obj in wave.objects] == [
        objects[place] for place in (2, 5, 4, 1, 0, 3)
    ]
    assert found[-1].name == REST


@pytest.mark.parametrize("kind", ["Namespace", "PersistentVolumeClaim", "Kafka", "KafkaTopic"])
def test_what_holds_data_is_kept(kind: str) -> None:
    """Leaving it out of the manifests must not delete what was collected."""
    assert kind in KEPT

"""Which pods belong to an object that is deleted already."""

import pytest

from ray_pipeline.kubernetes.deploy.remains import has_pod


@pytest.mark.parametrize(
    ("kind", "label", "value", "belongs"),
    [
        ("RayService", "ray.io/cluster", "a-x2c4v", True),
        ("RayService", "ray.io/cluster", "a", False),
        ("RayService", "ray.io/cluster", "a-batch-x2c4v", False),
        ("RayService", "ray.io/cluster", "b-x2c4v", False),
        ("RayJob", "ray.io/cluster", "a-x2c4v", True),
        ("RayCronJob", "ray.io/cluster", "a-29400000-x2c4v", True),
        ("RayCluster", "ray.io/cluster", "a", True),
        ("RayCluster", "ray.io/cluster", "a-x2c4v", False),
        ("Kafka", "strimzi.io/cluster", "a", True),
        ("Job", "job-name", "a", True),
        ("Job", "job-name", "a-29400000", False),
        ("CronJob", "job-name", "a-29400000", True),
        ("CronJob", "job-name", "a-now", False),
    ],
)
def test_pods_are_found_by_label(kind: str, label: str, value: str, belongs: bool) -> None:
    """The owner is gone, so its name in the label is all there is."""
    obj = {"kind": kind, "metadata": {"name": "a"}}
    pod = {"metadata": {"labels": {label: value}}}

    assert has_pod(obj, pod) is belongs


def test_pods_of_a_deployment_are_found_by_its_selector() -> None:
    """The labels of a pod may be more than the selector names."""
    obj = {"kind": "Deployment", "spec": {"selector": {"matchLabels": {"app": "a"}}}}

    assert has_pod(obj, {"metadata": {"labels": {"app": "a", "other": "x"}}})
    assert not has_pod(obj, {"metadata": {"labels": {"other": "x"}}})

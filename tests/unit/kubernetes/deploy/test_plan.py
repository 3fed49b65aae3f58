"""Warnings of a plan that need no server."""

import pytest

from ray_pipeline.kubernetes.deploy.diff import Change, State
from ray_pipeline.kubernetes.deploy.objects import Json, Ref, ref_of
from ray_pipeline.kubernetes.deploy.plan import settings_without_effect

SETTINGS = Ref("v1", "ConfigMap", "a", "settings")


def ray_cluster(config_map: str) -> Json:
    container = {"name": "ray", "envFrom": [{"configMapRef": {"name": config_map}}]}
    template = {"spec": {"containers": [container]}}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": "pipeline", "namespace": "a"},
        "spec": {"headGroupSpec": {"template": template}},
    }


@pytest.mark.parametrize(
    ("config_map", "ray", "settings", "warned"),
    [
        ("settings", "unchanged", "changed", True),
        ("settings", "changed", "changed", False),
        ("settings", "created", "created", False),
        ("settings", "unchanged", "unchanged", False),
        ("other", "unchanged", "changed", False),
    ],
)
def test_settings_that_no_pod_reads_again_give_a_warning(
    config_map: str, ray: State, settings: State, warned: bool
) -> None:
    """Only a pod that starts reads them, and no pod starts if Ray's spec stays the same."""
    cluster = ray_cluster(config_map)
    changes = [Change(SETTINGS, settings), Change(ref_of(cluster), ray)]

    warnings = settings_without_effect([cluster], changes)

    assert ["PIPELINE_RAY__GENERATION" in warning.fix for warning in warnings] == [True] * warned

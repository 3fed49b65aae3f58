"""The end of an installation; these tests run last."""

import pytest

from tests.kube.cluster import run, until
from tests.kube.profiles import Installer


@pytest.mark.parametrize("profile", ["dev"], indirect=True)
def test_delete_keeps_collected_data(profile: str, installer: Installer):
    """Pods of Ray and of the stores end, and volumes stay."""
    run("ray-pipeline deploy delete --yes")

    assert run("kubectl -n ray-pipeline get pods -l ray.io/node-type -o name") == ""
    claims = run("kubectl -n ray-pipeline get pvc -o name")
    assert "data-postgres-0" in claims
    run("kubectl delete namespace ray-pipeline --timeout=5m")
    installer.forget()


@pytest.mark.parametrize("profile", ["ha"], indirect=True)
def test_delete_with_data_leaves_nothing(profile: str, installer: Installer):
    """The namespace is gone, with its volumes."""
    installer.delete()

    assert run("kubectl get namespace ray-pipeline -o name --ignore-not-found") == ""
    until(
        lambda: run("kubectl get pv -o name") == "",
        timeout_s=60.0,
        expected="the volumes are deleted",
    )

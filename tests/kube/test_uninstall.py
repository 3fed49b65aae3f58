"""The end of an installation; these tests run last."""

from tests.kube.cluster import run
from tests.kube.profiles import Installer


def test_delete_keeps_collected_data_and_delete_data_removes_it(profile: str, installer: Installer):
    """Without --data the volumes stay; with it, nothing of the namespace is left."""
    run("ray-pipeline deploy delete --yes")
    claims = run("kubectl -n ray-pipeline get pvc -o name")
    assert "data-postgres-0" in claims
    assert (
        run("kubectl -n ray-pipeline get pods -o name --field-selector=status.phase=Running") == ""
    )

    installer.delete()

    assert run("kubectl get namespace ray-pipeline -o name --ignore-not-found") == ""

"""`ray-pipeline deploy sizing`: the manifests against five servers; no cluster is needed."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from ray_pipeline.cli.main import app
from ray_pipeline.kubernetes.deploy.objects import Json
from tests.k8s.world import an_object

OVERLAYS = Path(__file__).resolve().parents[2] / "kuberay" / "overlays"
GIB = 2**30


def sizing(profile: object, *options: str) -> Result:
    return CliRunner().invoke(app, ["deploy", "sizing", "--profile", str(profile), *options])


def written(folder: Path, memory: str) -> Path:
    resources = {"requests": {"cpu": "500m", "memory": memory}}
    template = {"spec": {"containers": [{"name": "c", "resources": resources}]}}
    spec: Json = {"replicas": 5, "template": template}
    path = folder / "manifests.yaml"
    path.write_text(yaml.safe_dump(an_object("apps/v1", "Deployment", "a", "ns", spec=spec)))
    return path


def test_what_fits_is_added_up(tmp_path: Path) -> None:
    """Pods, memory and CPU, and that it fits."""
    found = sizing(written(tmp_path, "2Gi"), "--json")

    report = json.loads(found.output)
    assert found.exit_code == 0
    assert report["always"] == {"pods": 5, "cpu_m": 2_500, "memory_bytes": 10 * GIB}
    assert report["fits"] is True


def test_what_does_not_fit_fails(tmp_path: Path) -> None:
    """Five pods of six GB: the two agents have room, the three servers of K3s do not."""
    found = sizing(written(tmp_path, "6500Mi"))

    assert found.exit_code == 1
    assert "It does not fit: no server has room for Deployment a" in found.output


@pytest.mark.parametrize("profile", ["lite", "ha"])
def test_the_profiles_fit_on_five_servers(profile: str) -> None:
    """As they are sold: 4 cores, 8 GB each, upgrade included."""
    if not (OVERLAYS / profile).is_dir():
        pytest.skip(f"no kuberay/overlays/{profile}")

    found = sizing(profile)

    assert found.exit_code == 0, found.output
    assert "It fits" in found.output


def test_a_profile_that_is_not_there_is_an_error() -> None:
    """Not an empty sum."""
    found = sizing("no-such-profile")

    assert found.exit_code == 1
    assert "no overlay or file 'no-such-profile'" in found.output

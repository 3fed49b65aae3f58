"""Where manifests are read from."""

from pathlib import Path

import pytest

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.kubernetes.deploy.manifest_source import locate, overlay_names, read
from ray_pipeline.kubernetes.deploy.objects import Json


def not_built(folder: Path) -> list[Json]:
    raise AssertionError(f"{folder} is a file")


def test_a_list_is_unpacked(tmp_path: Path) -> None:
    """`kubectl get -o yaml` prints one; its items count as objects of the file."""
    path = tmp_path / "manifests.yaml"
    path.write_text(
        "kind: ConfigMap\nmetadata: {name: a}\n---\n"
        "kind: List\nitems: [{kind: ConfigMap, metadata: {name: b}}]\n"
    )

    objects = read(str(path), not_built, roots=(tmp_path,), namespace="ns")

    assert [obj["metadata"] for obj in objects] == [
        {"namespace": "ns", "name": "a"},
        {"namespace": "ns", "name": "b"},
    ]


@pytest.mark.parametrize(("content", "message"), [("", "has no objects"), ("a: [", "is not YAML")])
def test_a_file_without_manifests_is_an_error(tmp_path: Path, content: str, message: str) -> None:
    """It is named in the error."""
    path = tmp_path / "manifests.yaml"
    path.write_text(content)

    with pytest.raises(ConfigurationError, match=f"manifests.yaml {message}"):
        read(str(path), not_built, roots=(tmp_path,), namespace=None)


def test_an_overlay_is_found_by_name_below_a_root(tmp_path: Path) -> None:
    """An unknown name is an error that lists the overlays."""
    for name in ("lite", "ha"):
        (tmp_path / "kuberay" / "overlays" / name).mkdir(parents=True)

    assert overlay_names((tmp_path,)) == ["ha", "lite"]
    assert locate("lite", (tmp_path,)) == tmp_path / "kuberay" / "overlays" / "lite"
    with pytest.raises(ConfigurationError) as unknown:
        locate("light", (tmp_path,))
    assert unknown.value.fix == "one of ha, lite, or a path"

"""The image against the repository and the manifests: what no engine is needed to find out."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from ray_pipeline import __version__
from ray_pipeline.local.pg_dump import CALLS_UNKNOWN, NEW_ERA, SKIPPED_EPOCHS

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
MANIFESTS = sorted((ROOT / "kuberay").rglob("*.yaml"))


def pod_specs(found: object):
    """Yield every pod's spec in a manifest."""
    if isinstance(found, dict):
        if "containers" in found:
            yield found
        for value in found.values():
            yield from pod_specs(value)
    if isinstance(found, list):
        for value in found:
            yield from pod_specs(value)


def ours():
    """Yield the pods that run this project's image, and the containers that do."""
    for file in MANIFESTS:
        for document in yaml.safe_load_all(file.read_text()):
            for pod in pod_specs(document):
                for one in pod["containers"]:
                    if str(one.get("image", "")).startswith("ray-pipeline:"):
                        yield file.name, pod, one


def test_all_that_is_copied_is_there_and_not_ignored():
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    kept = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }

    assert names == kept
    assert all((ROOT / name).exists() for name in names)


def test_the_user_is_the_one_that_the_pods_run_as():
    (user,) = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    pods = list(ours())

    assert len(pods) >= 8
    for file, pod, _ in pods:
        security = pod["securityContext"]
        assert (str(security["runAsUser"]), str(security["runAsGroup"])) == user, file
        assert security["runAsNonRoot"], file


def test_every_container_of_ours_has_a_read_only_root_and_this_release():
    for file, _, one in ours():
        assert one["image"] == f"ray-pipeline:{__version__}", file
        assert one["securityContext"]["readOnlyRootFilesystem"], file


@pytest.mark.parametrize("needed", ["bash", "wget", "git", "tini"])
def test_programs_that_the_operators_and_probes_call_are_installed(needed):
    installed = re.search(r"apt-get install.*?&& \\\n", DOCKERFILE, re.DOTALL)

    assert installed is not None
    assert re.search(rf"\b{needed}\b", installed.group())


def test_parts_that_no_pod_loads_are_removed_before_the_image_is_assembled():
    """In the stage of the build: what a later layer deletes still counts."""
    build, _, final = DOCKERFILE.rpartition("\nFROM ")

    for part in ("ray/jars", "ray/rllib", "pyarrow/*flight*", "pyarrow/include", "-name tests"):
        assert part in build
    assert "compileall" in build
    assert "compileall" not in final
    assert "pip" not in final.replace("ray-pipeline", "")


def test_pods_import_nothing_of_the_extras():
    """The image installs none of them, so its modules must do without."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.match(r"[\w-]+", line).group().lower() for line in project["dependencies"]]

    assert "kubernetes" not in names
    assert re.search(r"install .*--no-compile \.$", DOCKERFILE, re.MULTILINE)


def test_the_restore_job_begins_the_same_new_era_as_the_command():
    job = (ROOT / "kuberay" / "restore" / "restore.yaml").read_text()

    assert NEW_ERA.replace("%s", str(SKIPPED_EPOCHS)) in job
    for statement in CALLS_UNKNOWN:
        assert f'"{statement}"' in job

"""`ray-pipeline deploy` as a user has it: exit codes, questions, Ctrl-C, and what is printed."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from ray_pipeline.cli.main import app
from ray_pipeline.kubernetes.deploy.installation import revisions
from ray_pipeline.kubernetes.deploy.kube import Kube
from ray_pipeline.kubernetes.deploy.objects import Json, ref_of
from ray_pipeline.local.ports import reserve
from tests.k8s.apiserver import ApiServer
from tests.k8s.world import World, a_namespace, an_object, config, ray_service

Deploy = Callable[..., Result]
ENDS_S = 60.0


@pytest.fixture
def deploy(kubeconfig: Path, tmp_path: Path) -> Deploy:
    """Run a command; objects are given as a file."""

    def run(
        command: str, *options: str, objects: list[Json] | None = None, answer: str = ""
    ) -> Result:
        source = [str(written(tmp_path, objects))] if objects is not None else []
        arguments = ["deploy", command, *source, *options, "--kubeconfig", str(kubeconfig)]
        return CliRunner().invoke(app, arguments)

    return run


def written(folder: Path, objects: list[Json]) -> Path:
    path = folder / "manifests.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    return path


def a_release(namespace: str, value: str = "1") -> list[Json]:
    return [a_namespace(namespace), config(namespace, a=value)]


def test_the_exit_code_of_a_plan_tells_whether_something_would_change(
    deploy: Deploy, namespace: str
) -> None:
    """2 for changes, 0 for none, 1 for what cannot be applied: scripts branch on it."""
    objects = a_release(namespace)
    new = deploy("plan", objects=objects)
    assert (new.exit_code, f"+ ConfigMap {namespace}/settings" in new.output) == (2, True)

    applied = deploy("apply", "--yes", objects=objects)
    assert (applied.exit_code, "revision 1 is ready" in applied.output) == (0, True)
    assert deploy("plan", objects=objects).exit_code == 0

    other = deploy("plan", objects=a_release(namespace, "2"))
    assert (other.exit_code, "data.a: 1 -> 2" in other.output) == (2, True)

    wrong = [*objects, an_object("v1", "ConfigMap", "Not_A_Name", namespace)]
    assert deploy("plan", objects=wrong).exit_code == 1


def test_an_apply_of_the_same_does_nothing(deploy: Deploy, kube: Kube, namespace: str) -> None:
    """No revision either."""
    deploy("apply", "--yes", objects=a_release(namespace))

    again = deploy("apply", "--yes", objects=a_release(namespace))

    assert (again.exit_code, "nothing to do" in again.output) == (0, True)
    assert len(revisions(kube, namespace)) == 1


def test_nothing_is_applied_unasked(deploy: Deploy, kube: Kube, namespace: str) -> None:
    """Without a terminal, no confirmation is possible: --yes is required."""
    objects = a_release(namespace)

    refused = deploy("apply", objects=objects)

    assert (refused.exit_code, "add --yes" in refused.output) == (1, True)
    assert kube.get(ref_of(objects[1])) is None


def test_what_the_server_refuses_stops_an_apply(deploy: Deploy, kube: Kube, namespace: str) -> None:
    """Before anything of it is applied."""
    kube.apply(a_namespace(namespace))
    objects = [*a_release(namespace), an_object("v1", "ConfigMap", "Not_A_Name", namespace)]

    refused = deploy("apply", "--yes", objects=objects)

    assert (refused.exit_code, "nothing was applied" in refused.output) == (1, True)
    assert kube.get(ref_of(objects[1])) is None


def a_monitor(namespace: str, name: str, **annotations: str) -> Json:
    kind = ("monitoring.coreos.com/v1", "ServiceMonitor")  # which this server does not know
    monitor = an_object(*kind, name, namespace, spec={})
    monitor["metadata"] |= {"annotations": annotations}
    return monitor


@pytest.mark.parametrize("command", [["plan"], ["apply", "--yes"]])
def test_a_missing_kind_is_told_at_once(
    deploy: Deploy, kube: Kube, namespace: str, command: list[str]
) -> None:
    """With its objects, how to get it, and the command without it, which works right away."""
    component = {"ray-pipeline/component": "monitoring"}
    monitors = [a_monitor(namespace, name, **component) for name in ("kafka", "ray")]
    objects = [*a_release(namespace), *monitors]

    refused = deploy(*command, objects=objects)

    assert refused.exit_code == 1
    assert f"ServiceMonitor {namespace}/kafka, ServiceMonitor {namespace}/ray" in refused.output
    assert "kubectl apply --server-side" in refused.output
    found = re.search(r"`ray-pipeline deploy apply \S+ (--without \S+)`", refused.output)
    assert found
    assert kube.get(ref_of(objects[0])) is None

    done = deploy("apply", "--yes", *found[1].split(), objects=objects)
    assert (done.exit_code, "revision 1 is ready" in done.output) == (0, True)
    assert deploy("plan", *found[1].split(), objects=objects).exit_code == 0


def test_an_optional_component_is_left_out_and_added_later(
    deploy: Deploy, kube: Kube, api_server: ApiServer, namespace: str
) -> None:
    """Every command says so, until the cluster serves the kind."""
    group = f"{namespace}.optional.test"
    monitor = an_object(f"{group}/v1", "Monitor", "m", namespace, spec={})
    monitor["metadata"] |= {
        "annotations": {"ray-pipeline/component": "extras", "ray-pipeline/optional": "true"}
    }
    objects = [*a_release(namespace), monitor]
    note = f"note: extras is left out: the cluster does not serve Monitor ({group}/v1)"

    assert note in deploy("plan", objects=objects).output
    done = deploy("apply", "--yes", objects=objects)

    assert (done.exit_code, note in done.output) == (0, True), done.output
    assert deploy("plan", objects=objects).exit_code == 0
    status = deploy("status", "-n", namespace)
    assert (status.exit_code, "without extras" in status.output) == (0, True), status.output

    api_server.define(f"{group}/v1", "Monitor")
    done = deploy("apply", "--yes", objects=objects)
    assert (done.exit_code, "left out" in done.output) == (0, False), done.output
    assert kube.get(ref_of(monitor)) is not None
    assert deploy("delete", "--yes", "-n", namespace).exit_code == 0


def test_a_component_that_is_not_there_cannot_be_left_out(deploy: Deploy, namespace: str) -> None:
    """A misspelt name would leave nothing out."""
    monitor = a_monitor(namespace, "a", **{"ray-pipeline/component": "monitoring"})

    refused = deploy("plan", "--without", "monitor", objects=[*a_release(namespace), monitor])

    assert (refused.exit_code, "one of monitoring" in refused.output) == (1, True)


def test_secrets_are_not_printed(deploy: Deploy, namespace: str) -> None:
    """Neither in a plan, nor as JSON, nor by an apply or a rollback."""
    secret = an_object("v1", "Secret", "keys", namespace, stringData={"key": "hunter2-one"})
    objects = [*a_release(namespace), secret]
    output = deploy("apply", "--yes", objects=objects).output
    secret["stringData"] = {"key": "hunter2-two"}
    for command, *options in (["plan"], ["plan", "--json"], ["apply", "--yes"]):
        found = deploy(command, *options, objects=objects).output
        assert "stringData.key" in found or command == "apply"
        output += found
    output += deploy("rollback", "--yes", "-n", namespace).output
    output += deploy("status", "--json", "-n", namespace).output

    assert "hunter2" not in output


def test_a_rollback_says_where_it_goes(deploy: Deploy, kube: Kube, namespace: str) -> None:
    """And is a release like any other."""
    for value in ("1", "2"):
        deploy("apply", "--yes", objects=a_release(namespace, value))

    back = deploy("rollback", "--yes", "-n", namespace)

    assert back.exit_code == 0, back.output
    assert "back to revision 1" in back.output
    assert "data.a: 2 -> 1" in back.output
    live = kube.get(ref_of(config(namespace)))
    assert live is not None
    assert live["data"] == {"a": "1"}


def test_a_status_fails_while_something_is_not_ready(
    deploy: Deploy, world: World, namespace: str
) -> None:
    """With the reason; JSON for machines."""
    deploy("apply", "--yes", objects=a_release(namespace))
    assert deploy("status", "-n", namespace).exit_code == 0

    world.kube.delete(ref_of(config(namespace)))
    found = deploy("status", "--json", "-n", namespace)

    assert found.exit_code == 1
    rows = {row["ref"]["kind"]: row for row in json.loads(found.output)["objects"]}
    assert rows["ConfigMap"]["readiness"]["state"] == "missing"
    assert rows["ConfigMap"]["findings"][0]["fix"] == "apply again"


def test_nothing_deployed_is_an_error(deploy: Deploy, kube: Kube, namespace: str) -> None:
    """Of status, rollback and delete alike."""
    kube.apply(a_namespace(namespace))
    for command in ("status", "rollback", "delete"):
        found = deploy(command, "-n", namespace)
        assert (found.exit_code, "nothing was deployed" in found.output) == (1, True)


def test_a_delete_asks_and_tells_what_is_left(deploy: Deploy, kube: Kube, namespace: str) -> None:
    """The namespace stays, and what is in it that is not of the release."""
    deploy("apply", "--yes", objects=a_release(namespace))
    assert deploy("delete", "-n", namespace).exit_code == 1
    assert kube.get(ref_of(config(namespace))) is not None

    found = deploy("delete", "--yes", "-n", namespace)

    assert (found.exit_code, f"left: Namespace {namespace}" in found.output) == (0, True)
    assert kube.get(ref_of(config(namespace))) is None


def test_a_server_that_is_away_is_one_line(
    api_server: ApiServer, tmp_path: Path, namespace: str
) -> None:
    """Its address, the reason, what to look at."""
    path = written(tmp_path, a_release(namespace))

    with reserve() as nowhere:
        host = f"https://127.0.0.1:{nowhere.ports[0]}"
        config = api_server.kubeconfig(f"nowhere-{namespace}", host=host)
        found = CliRunner().invoke(app, ["deploy", "plan", str(path), "--kubeconfig", str(config)])

    assert found.exit_code == 1
    assert "cannot be reached: " in found.output
    assert "Connection refused" in found.output
    assert "kubectl cluster-info" in found.output


def test_a_stranger_is_told_to_log_in_or_to_ask(
    api_server: ApiServer, tmp_path: Path, namespace: str
) -> None:
    """A kubeconfig without a certificate identifies no user."""
    stranger = api_server.kubeconfig(f"stranger-{namespace}", host=api_server.real)
    path = written(tmp_path, a_release(namespace))

    found = CliRunner().invoke(app, ["deploy", "plan", str(path), "--kubeconfig", str(stranger)])

    assert found.exit_code == 1
    assert "fix: " in found.output
    assert "Traceback" not in found.output


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path, namespace: str) -> None:
    """And what to give instead."""
    path = written(tmp_path, a_release(namespace))
    missing = str(tmp_path / "missing")

    found = CliRunner().invoke(app, ["deploy", "plan", str(path), "--kubeconfig", missing])

    assert (found.exit_code, "--kubeconfig" in found.output) == (1, True)


def test_after_ctrl_c_the_state_is_told(
    kubeconfig: Path, kube: Kube, tmp_path: Path, namespace: str
) -> None:
    """What is applied, what is waited for, and how to go on; the same command then goes on."""
    objects = [*a_release(namespace), ray_service(namespace)]
    path = written(tmp_path, objects)
    command = [sys.executable, "-m", "ray_pipeline.cli.main", "deploy", "apply", str(path), "--yes"]
    process = subprocess.Popen(
        [*command, "--kubeconfig", str(kubeconfig)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # A shell lets its background jobs ignore SIGINT, and every process inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert any("has not seen it yet" in line for line in lines), "it waits for the operator"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=ENDS_S)
    finally:
        process.kill()
        process.wait(60)

    assert process.returncode == 130
    assert "interrupted at Ray: 3 of 3 objects were applied" in errors
    assert f"not ready: RayService {namespace}/pipeline" in errors
    assert "the same command again goes on" in errors
    assert [one.state for one in revisions(kube, namespace)] == ["applying"]

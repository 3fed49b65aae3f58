"""Reading values inside Kubernetes objects."""

import pytest

from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    Ref,
    by_name,
    dig,
    elements,
    fields,
    items,
    number,
    pod_templates,
    reason_of,
    ref_of,
    selects,
    text,
)

POD: Json = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c"}]}}
DEPLOYMENT: Json = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "ns"},
    "spec": {"replicas": 2, "paused": True, "template": POD},
}  # fmt: skip


def test_a_reference_is_read_from_the_object() -> None:
    """Cluster-wide objects have an empty namespace."""
    assert ref_of(DEPLOYMENT) == Ref("apps/v1", "Deployment", "ns", "a")
    assert str(ref_of(DEPLOYMENT)) == "Deployment ns/a"
    assert str(ref_of({"kind": "Namespace", "metadata": {"name": "n"}})) == "Namespace n"


@pytest.mark.parametrize("path", [("spec", "gone"), ("spec", "replicas", "x"), ("spec", 0), (0,)])
def test_a_path_that_does_not_exist_gives_nothing(path: tuple[str | int, ...]) -> None:
    """Neither a missing field nor a value of another type is an error."""
    assert dig(DEPLOYMENT, *path) is None
    assert text(DEPLOYMENT, *path) == ""
    assert elements(DEPLOYMENT, *path) == items(DEPLOYMENT, *path) == []


def test_only_an_integer_is_a_number() -> None:
    """A boolean is an integer in Python, but not in Kubernetes."""
    assert number(DEPLOYMENT, "spec", "replicas") == 2
    assert number(DEPLOYMENT, "spec", "paused", default=7) == 7


def test_fields_are_found_at_any_depth() -> None:
    """A list yields its elements under the name of the list."""
    names = [name for name, _ in fields(DEPLOYMENT)]

    assert names.count("containers") == 1
    assert ("containers", {"name": "c"}) in list(fields(DEPLOYMENT))


def test_pod_templates_are_found_wherever_a_kind_keeps_them() -> None:
    """A pod itself, and a template inside a template."""
    cron_job: Json = {"spec": {"jobTemplate": {"spec": {"template": POD}}}}

    assert list(pod_templates(POD)) == list(pod_templates(cron_job)) == [POD]


@pytest.mark.parametrize(
    ("selector", "matches"), [({"app": "a"}, True), ({"app": "b"}, False), ({}, False)]
)
def test_an_empty_selector_matches_nothing(selector: Json, *, matches: bool) -> None:
    """Unlike in Kubernetes, where it matches every pod: here it would hide a mistake."""
    assert selects(selector, {"app": "a", "tier": "x"}) is matches


def test_objects_of_a_kind_are_found_by_name() -> None:
    """Objects of other kinds may have the same name."""
    service: Json = {"kind": "Service", "metadata": {"name": "a"}}

    assert by_name([DEPLOYMENT, service], "Service") == {"a": service}


@pytest.mark.parametrize(
    ("status", "reason"),
    [({"reason": "R", "message": "m"}, "R: m"), ({"message": "m"}, "m"), ({}, "")],
)
def test_a_reason_omits_what_is_missing(status: Json, reason: str) -> None:
    """No colon without both parts."""
    assert reason_of(status) == reason

"""Pods run without root, with the least privileges, from one image, and fit on the servers."""

import re
from collections.abc import Iterator, Sequence

from ray_pipeline.kubernetes.deploy.objects import Json, dig, items, mapping, of_kind, text
from ray_pipeline.kubernetes.deploy.sizing import fit, needs, quantity, servers
from ray_pipeline.kubernetes.manifests.lint_finding import LintFinding, fault
from ray_pipeline.kubernetes.manifests.pod_templates import Template, templates
from ray_pipeline.settings import OTHER_NAMES, known_names

DRAIN = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
DRAIN_S = 30  # Ray's default
PIPELINE_IMAGE = re.compile(r"(.*/)?ray-pipeline(:.*)?")
SECRET_NAME = re.compile(r"PASSWORD|TOKEN|SECRET|API_KEYS|DSN|REDIS__URL")
Requirement = tuple[str, tuple[str, ...], object, str]
"""Rule, path, the value that must be there, and the fault if it is not."""

# Of a pod.
POD_REQUIREMENTS: tuple[Requirement, ...] = (
    ("pod-root", ("securityContext", "runAsNonRoot"), True, "runAsNonRoot is not set"),
    (
        "pod-seccomp", ("securityContext", "seccompProfile", "type"), "RuntimeDefault",
        "no seccompProfile RuntimeDefault",
    ),
    ("pod-token", ("automountServiceAccountToken",), False, "it gets an account's token"),
)  # fmt: skip
# Of a container's securityContext.
CONTAINER_REQUIREMENTS: tuple[Requirement, ...] = (
    (
        "pod-escalation", ("allowPrivilegeEscalation",), False,
        "allowPrivilegeEscalation is not false",
    ),
    ("pod-root-disk", ("readOnlyRootFilesystem",), True, "readOnlyRootFilesystem is not true"),
    ("pod-capabilities", ("capabilities", "drop"), ["ALL"], "capabilities.drop is not [ALL]"),
)  # fmt: skip


def of_pods(objects: Sequence[Json]) -> Iterator[LintFinding]:
    """Yield privileges, sizes and settings that are wrong."""
    for template in templates(objects):
        yield from _safety(template)
        for container in template.containers:
            yield from _memory(template.owner, container)
            yield from _settings(template.owner, container)
        if template.ray:
            yield from _ray(template)
    for config_map in of_kind(objects, "ConfigMap"):
        yield from _setting_names(config_map, mapping(config_map, "data"))
    for secret in of_kind(objects, "Secret"):
        fix = "create it by hand"
        yield fault("secret-value", secret, "a Secret among the manifests", fix=fix)
    yield from _one_image(objects)
    yield from _sums(objects)


def _safety(template: Template) -> Iterator[LintFinding]:
    for rule, path, expected, message in POD_REQUIREMENTS:
        if dig(template.spec, *path) != expected:
            yield fault(rule, template.owner, f"{template.name}: {message}")
    for container in template.containers:
        name, image = text(container, "name"), text(container, "image")
        for rule, path, expected, message in CONTAINER_REQUIREMENTS:
            if dig(container, "securityContext", *path) != expected:
                yield fault(rule, template.owner, f"{name}: {message}")
        if image.endswith(":latest") or ":" not in image.rpartition("/")[2]:
            yield fault("pod-image", template.owner, f"{name}: {image!r} names no version")


def _memory(owner: Json, container: Json) -> Iterator[LintFinding]:
    request = quantity(dig(container, "resources", "requests", "memory"))
    limit = quantity(dig(container, "resources", "limits", "memory"))
    if not request or request != limit:
        yield fault(
            "pod-memory", owner, f"{text(container, 'name')}: {request:g} of {limit:g}",
            fix="make the request equal to the limit: Ray's object store and Kafka's cache use "
            "all of it",
        )  # fmt: skip


def _settings(owner: Json, container: Json) -> Iterator[LintFinding]:
    for variable in items(container, "env"):
        name = text(variable, "name")
        yield from _setting_names(owner, [name])
        if SECRET_NAME.search(name) and "value" in variable:
            fix = "valueFrom.secretKeyRef"
            yield fault("secret-value", owner, f"{name} has a value here", fix=fix)


def _setting_names(owner: Json, names: Sequence[str] | Json) -> Iterator[LintFinding]:
    for name in names:
        if name.startswith("PIPELINE_") and name not in known_names() | OTHER_NAMES:
            yield fault("setting", owner, f"unknown setting {name}", fix="see docs/settings.md")


def _ray(template: Template) -> Iterator[LintFinding]:
    mounts = items(template.spec, "containers", 0, "volumeMounts")
    for path in sorted({"/tmp", "/home/ray"} - {text(item, "mountPath") for item in mounts}):  # noqa: S108 - inside a pod
        yield fault(
            "ray-disk", template.owner, f"{template.name}: {path} is not writable",
            fix="mount an emptyDir: the root is read-only",
        )  # fmt: skip
    grace_s = dig(template.spec, "terminationGracePeriodSeconds")
    drain_s = _drain_s(template)
    if not isinstance(grace_s, int) or grace_s <= drain_s:
        yield fault(
            "ray-grace", template.owner,
            f"{template.name}: terminationGracePeriodSeconds: {grace_s}",
            fix=f"more than the {drain_s} s in which Ray drains a node ({DRAIN})",
        )  # fmt: skip


def _drain_s(template: Template) -> int:
    """Return how many seconds Ray waits for the actors of a node that ends."""
    values = [
        text(variable, "value")
        for variable in items(template.spec, "containers", 0, "env")
        if text(variable, "name") == DRAIN
    ]
    return int(values[0]) if values and values[0].isdigit() else DRAIN_S


def _one_image(objects: Sequence[Json]) -> Iterator[LintFinding]:
    images = {
        image: template.owner
        for template in templates(objects)
        for container in template.containers
        if PIPELINE_IMAGE.fullmatch(image := text(container, "image"))
    }
    if len(images) > 1:
        yield fault(
            "one-image", next(iter(images.values())),
            f"several images: {', '.join(sorted(images))}",
            fix="use one image: Ray needs equal versions on all nodes, drivers and submitters",
        )  # fmt: skip


def _sums(objects: Sequence[Json]) -> Iterator[LintFinding]:
    # Runs come and go, and may wait. What an upgrade needs twice must fit.
    lasting = [need for need in needs(objects) if need.when != "run"]
    if unschedulable := fit(lasting, servers()).unschedulable:
        message = f"no room for {', '.join(sorted(set(unschedulable)))}"
        fix = "`ray-pipeline deploy sizing` shows the sums"
        yield fault("sizing", objects[0], message, fix=fix)

"""How pods are run: not as root, with nothing they do not need, from one image."""

import re
from collections.abc import Iterator, Sequence

from ray_pipeline.kubernetes.deploy.objects import Json, dig, items, mapping, text
from ray_pipeline.kubernetes.deploy.sizing import fit, needs, quantity, servers
from ray_pipeline.kubernetes.manifests.finding import Finding, fault
from ray_pipeline.kubernetes.manifests.pod_templates import Template, templates
from ray_pipeline.settings import OTHER_NAMES, known_names

OURS = re.compile(r"(.*/)?ray-pipeline(:.*)?")
SECRET_NAME = re.compile(r"PASSWORD|TOKEN|SECRET|API_KEYS|DSN|REDIS__URL")
METRIC = re.compile(r"\bray_(pipeline_\w+)")
SUFFIXES = ("_total", "_bucket", "_sum", "_count")


def of_pods(objects: Sequence[Json]) -> Iterator[Finding]:
    """Yield what is unsafe, too large, or set in vain."""
    for template in templates(objects):
        yield from _safe(template)
        yield from _memory(template)
        yield from _settings(template)
        if template.ray:
            yield from _ray(template)
    for obj in objects:
        if text(obj, "kind") == "ConfigMap":
            yield from _names(obj, mapping(obj, "data"))
        if text(obj, "kind") == "Secret":
            yield fault("secret-value", obj, "a Secret among the manifests", fix="make it by hand")
    yield from _one_image(objects)
    yield from _sums(objects)


def _safe(template: Template) -> Iterator[Finding]:
    spec, owner = template.spec, template.owner
    if text(spec, "securityContext", "runAsNonRoot") != "True":
        yield fault("pod-root", owner, f"{template.name}: runAsNonRoot is not set")
    if text(spec, "securityContext", "seccompProfile", "type") != "RuntimeDefault":
        yield fault("pod-seccomp", owner, f"{template.name}: no seccompProfile RuntimeDefault")
    if dig(spec, "automountServiceAccountToken") is not False:
        yield fault("pod-token", owner, f"{template.name}: it gets an account's token")
    for container in template.containers:
        context = mapping(container, "securityContext")
        name = text(container, "name")
        if context.get("allowPrivilegeEscalation") is not False:
            yield fault("pod-escalation", owner, f"{name}: allowPrivilegeEscalation is not false")
        if context.get("readOnlyRootFilesystem") is not True:
            yield fault("pod-root-disk", owner, f"{name}: readOnlyRootFilesystem is not true")
        if dig(context, "capabilities", "drop") != ["ALL"]:
            yield fault("pod-capabilities", owner, f"{name}: capabilities.drop is not [ALL]")
        image = text(container, "image")
        if image.endswith(":latest") or ":" not in image.rpartition("/")[2]:
            yield fault("pod-image", owner, f"{name}: {image!r} names no version")


def _memory(template: Template) -> Iterator[Finding]:
    for container in template.containers:
        resources = mapping(container, "resources")
        asked = quantity(dig(resources, "requests", "memory"))
        most = quantity(dig(resources, "limits", "memory"))
        if not asked or asked != most:
            yield fault(
                "pod-memory", template.owner, f"{text(container, 'name')}: {asked:g} of {most:g}",
                fix="request what the limit is: Ray's object store and Kafka's cache take it all",
            )  # fmt: skip


def _settings(template: Template) -> Iterator[Finding]:
    for container in template.containers:
        for variable in items(container, "env"):
            name = text(variable, "name")
            yield from _names(template.owner, {name: variable})
            if SECRET_NAME.search(name) and "value" in variable:
                yield fault(
                    "secret-value", template.owner, f"{name} has a value here",
                    fix="valueFrom.secretKeyRef",
                )  # fmt: skip


def _names(owner: Json, values: Json) -> Iterator[Finding]:
    for name in values:
        if name.startswith("PIPELINE_") and name not in known_names() | OTHER_NAMES:
            yield fault("setting", owner, f"{name} is no setting", fix="see docs/settings.md")


def _ray(template: Template) -> Iterator[Finding]:
    mounts = {
        text(mount, "mountPath")
        for mount in items(template.spec, "containers", 0, "volumeMounts")
    }  # fmt: skip
    for path in ("/tmp", "/home/ray"):  # noqa: S108 - inside of a pod
        if path not in mounts:
            yield fault(
                "ray-disk", template.owner, f"{template.name}: {path} is not writable",
                fix="mount an emptyDir: the root is read-only",
            )  # fmt: skip
    grace = dig(template.spec, "terminationGracePeriodSeconds")
    if not isinstance(grace, int) or grace <= 30:
        yield fault(
            "ray-grace", template.owner, f"{template.name}: terminationGracePeriodSeconds: {grace}",
            fix="more than Ray's 30 s of draining, or it is killed in the midst of it",
        )  # fmt: skip


def _one_image(objects: Sequence[Json]) -> Iterator[Finding]:
    images: dict[str, Json] = {}
    for template in templates(objects):
        for container in template.containers:
            image = text(container, "image")
            if OURS.fullmatch(image):
                images[image] = template.owner
    if len(images) > 1:
        owner = next(iter(images.values()))
        yield fault(
            "one-image", owner, f"several images: {', '.join(sorted(images))}",
            fix="one everywhere: Ray wants the same release on every node, driver and submitter",
        )  # fmt: skip


def _sums(objects: Sequence[Json]) -> Iterator[Finding]:
    wanted = [need for need in needs(objects) if need.when != "run"]
    homeless = fit(wanted, servers()).homeless
    if homeless and objects:
        yield fault(
            "sizing", objects[0], f"no room for {', '.join(sorted(set(homeless)))}",
            fix="`ray-pipeline deploy sizing` has the sums",
        )  # fmt: skip


def metric_names(expression: str) -> set[str]:
    """Return the pipeline's metrics that a query asks for, without what Ray adds to their names."""
    found = set()
    for name in METRIC.findall(expression):
        suffix = next((one for one in SUFFIXES if name.endswith(one)), "")
        found.add(name.removesuffix(suffix))
    return found

"""
Rules of KubeRay that its CRDs do not hold: the operator refuses these objects, or does harm.

Source: `ray-operator/controllers/ray/utils/validation.go` and `constant.go` of KubeRay 1.7.0.
"""

import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

import yaml

from ray_pipeline.kubernetes.deploy.objects import Json, dig, items, mapping, text
from ray_pipeline.kubernetes.manifests.finding import Finding, fault
from ray_pipeline.kubernetes.manifests.pod_templates import cluster_spec

MODES = ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
LONGEST_NAME = {"RayCluster": 53, "RayService": 47, "RayJob": 47, "RayCronJob": 36}
DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
OURS = "the operator sets it from gcsFaultToleranceOptions"
FT_VARIABLES = ("RAY_REDIS_ADDRESS", "REDIS_PASSWORD", "REDIS_USERNAME")
FT_PARAMS = ("redis-password", "redis-username")
GATED = {
    "networkPolicy": "RayClusterNetworkPolicy",
    "tlsOptions": "RayClusterMTLS",
}
NEEDS_VERSION = {"token": (2, 52)}


def of_ray(objects: Sequence[Json]) -> Iterator[Finding]:
    """Yield what KubeRay's operator refuses."""
    for obj in objects:
        kind = text(obj, "kind")
        if kind not in LONGEST_NAME:
            continue
        yield from _names(obj, kind)
        if cluster_spec(obj):
            yield from _cluster(obj, cluster_spec(obj))
        if kind == "RayService":
            yield from _service(obj)
        if kind == "RayJob":
            yield from _job(obj, mapping(obj, "spec"))
        if kind == "RayCronJob":
            yield from _cron(obj)


def _names(obj: Json, kind: str) -> Iterator[Finding]:
    name = text(obj, "metadata", "name")
    if len(name) > LONGEST_NAME[kind] or not DNS_1035.fullmatch(name):
        yield fault(
            "ray-name", obj, f"metadata.name: {name!r}",
            fix=f"at most {LONGEST_NAME[kind]} characters a-z, 0-9 and -, the first one a letter",
        )  # fmt: skip
    if text(obj, "apiVersion") != "ray.io/v1":
        yield fault("ray-version", obj, f"apiVersion: {text(obj, 'apiVersion')}", fix="ray.io/v1")


def _cluster(obj: Json, spec: Json) -> Iterator[Finding]:
    if not text(spec, "rayVersion"):
        yield fault(
            "ray-probes", obj, "rayVersion is missing",
            fix="set it: without it the probes need bash and wget, and ask the wrong port",
        )  # fmt: skip
    for name, gate in GATED.items():
        if dig(spec, name) is not None:
            yield fault(
                "ray-gate", obj, f"{name} needs the feature gate {gate}, which is off",
                fix="leave it out; NetworkPolicies of our own are in kuberay/base",
            )  # fmt: skip
    groups = [("headGroupSpec", mapping(spec, "headGroupSpec"))] + [
        (f"workerGroupSpecs.{place}", group)
        for place, group in enumerate(items(spec, "workerGroupSpecs"))
    ]
    for path, group in groups:
        yield from _group(obj, spec, path=path, group=group)
    if text(spec, "authOptions", "mode") == "token":
        version = tuple(int(part) for part in re.findall(r"\d+", text(spec, "rayVersion"))[:2])
        if version and version < NEEDS_VERSION["token"]:
            yield fault("ray-auth", obj, "authOptions.mode: token needs rayVersion 2.52 or newer")
    if dig(spec, "upgradeStrategy") is not None and text(obj, "kind") != "RayCluster":
        yield fault(
            "ray-upgrade", obj, "the cluster's upgradeStrategy is refused here",
            fix="it belongs to a plain RayCluster",
        )  # fmt: skip


def _group(obj: Json, spec: Json, *, path: str, group: Json) -> Iterator[Finding]:
    params = mapping(group, "rayStartParams")
    if "labels" in params:
        yield fault("ray-params", obj, f"{path}.rayStartParams.labels is refused", fix="use labels")
    if dig(group, "resources") is not None and "resources" in params:
        yield fault("ray-params", obj, f"{path}: resources and rayStartParams.resources")
    if path != "headGroupSpec" and dig(spec, "enableInTreeAutoscaling") is not True:
        missing = {"minReplicas", "maxReplicas"} - group.keys()
        if missing:
            yield fault("ray-replicas", obj, f"{path}: {', '.join(sorted(missing))} missing")
    if dig(spec, "enableInTreeAutoscaling") is True:
        policy = text(group, "template", "spec", "restartPolicy")
        if policy not in {"", "Never"}:
            yield fault("ray-autoscaler", obj, f"{path}: restartPolicy {policy}", fix="Never")
    if dig(spec, "gcsFaultToleranceOptions") is not None:
        yield from _fault_tolerance(obj, path, group)


def _fault_tolerance(obj: Json, path: str, group: Json) -> Iterator[Finding]:
    for name in FT_PARAMS:
        if name in mapping(group, "rayStartParams"):
            yield fault("ray-redis", obj, f"{path}.rayStartParams.{name}", fix=OURS)
    for container in items(group, "template", "spec", "containers"):
        for variable in items(container, "env"):
            if text(variable, "name") in FT_VARIABLES:
                yield fault("ray-redis", obj, f"{path}: {text(variable, 'name')}", fix=OURS)
    if "ray.io/ft-enabled" in mapping(obj, "metadata", "annotations"):
        yield fault("ray-redis", obj, "the annotation ray.io/ft-enabled", fix=OURS)


def _service(obj: Json) -> Iterator[Finding]:
    spec = cluster_spec(obj)
    if "ray.io/initializing-timeout" in mapping(obj, "metadata", "annotations"):
        yield fault(
            "service-timeout", obj, "the annotation ray.io/initializing-timeout",
            fix="leave it out: when it fires, the service can only be deleted",
        )  # fmt: skip
    if text(obj, "spec", "headService", "metadata", "name"):
        yield fault("service-name", obj, "headService.metadata.name must be empty")
    if text(spec, "gcsFaultToleranceOptions", "externalStorageNamespace"):
        yield fault(
            "service-storage", obj, "externalStorageNamespace",
            fix="leave it out: two clusters of an upgrade would share it and break each other",
        )  # fmt: skip
    for place, group in enumerate(items(spec, "workerGroupSpecs")):
        first = dig(group, "template", "spec", "containers", 0, "readinessProbe")
        if first is None:
            yield fault(
                "service-readiness", obj, f"workerGroupSpecs.{place} has no readinessProbe",
                fix="give it one: KubeRay's own waits for a Serve replica, which most have not",
            )  # fmt: skip
    yield from applications(obj, text(obj, "spec", "serveConfigV2"))


def applications(obj: Json, config: str) -> Iterator[Finding]:
    """Yield what is wrong with a configuration of Serve: no application, or no such module."""
    try:
        found = items(yaml.safe_load(config), "applications")
    except yaml.YAMLError as error:
        yield fault("serve-config", obj, f"it is not YAML: {error}")
        return
    if not found:
        yield fault(
            "serve-config", obj, "no application",
            fix="a RayService without one never becomes ready",
        )  # fmt: skip
    for one in found:
        module, _, name = text(one, "import_path").partition(":")
        try:
            known = bool(name) and find_spec(module) is not None
        except (ModuleNotFoundError, ValueError):
            known = False
        if not known:
            yield fault("serve-import", obj, f"nothing is at {text(one, 'import_path')!r}")


def _job(obj: Json, spec: Json) -> Iterator[Finding]:
    mode = text(spec, "submissionMode") or "K8sJobMode"
    if mode not in MODES:
        yield fault("job-mode", obj, f"submissionMode: {mode!r}", fix=f"one of {', '.join(MODES)}")
    ends = dig(spec, "shutdownAfterJobFinishes") is True
    selector = mapping(spec, "clusterSelector")
    if dig(spec, "suspend") is True and (not ends or selector):
        yield fault(
            "job-suspend", obj, "suspend",
            fix="it needs shutdownAfterJobFinishes: true and no clusterSelector",
        )  # fmt: skip
    if _whole(spec, "ttlSecondsAfterFinished") > 0 and not ends:
        yield fault(
            "job-ttl", obj, "ttlSecondsAfterFinished", fix="it needs shutdownAfterJobFinishes: true"
        )
    if mode == "InteractiveMode" and _whole(spec, "backoffLimit") > 0:
        yield fault("job-backoff", obj, "backoffLimit is refused in InteractiveMode")
    if selector:
        yield from _selected(obj, spec, mode=mode, selector=selector)
    yield from _deletion(obj, spec, ends=ends)


def _selected(obj: Json, spec: Json, *, mode: str, selector: Json) -> Iterator[Finding]:
    if set(selector) != {"ray.io/cluster"}:
        yield fault(
            "job-selector", obj, f"clusterSelector: {', '.join(selector)}",
            fix="the key is ray.io/cluster, the value the RayCluster's name",
        )  # fmt: skip
    if mode == "SidecarMode":
        yield fault("job-selector", obj, "clusterSelector is refused in SidecarMode")
    if _whole(spec, "backoffLimit") > 0:
        yield fault(
            "job-selector", obj, "backoffLimit is refused with clusterSelector",
            fix="submitterConfig.backoffLimit repeats the submitting",
        )  # fmt: skip
    for rule in items(spec, "deletionStrategy", "deletionRules"):
        if text(rule, "policy") in {"DeleteCluster", "DeleteWorkers"}:
            yield fault("job-selector", obj, f"{text(rule, 'policy')} with clusterSelector")


def _deletion(obj: Json, spec: Json, *, ends: bool) -> Iterator[Finding]:
    rules = items(spec, "deletionStrategy", "deletionRules")
    if not rules:
        return
    legacy = {"onSuccess", "onFailure"} & mapping(spec, "deletionStrategy").keys()
    if ends or legacy:
        yield fault(
            "job-deletion", obj, "deletionRules beside shutdownAfterJobFinishes or onSuccess",
            fix="take the rules alone",
        )  # fmt: skip
    order = ("DeleteWorkers", "DeleteCluster", "DeleteSelf")
    for status in {text(rule, "condition", "jobStatus") for rule in rules}:
        mine = [rule for rule in rules if text(rule, "condition", "jobStatus") == status]
        waits = [
            _whole(rule, "condition", "ttlSeconds")
            for rule in sorted(mine, key=lambda one: _place(order, text(one, "policy")))
        ]
        policies = [text(rule, "policy") for rule in mine]
        if waits != sorted(waits) or len(policies) != len(set(policies)):
            yield fault(
                "job-deletion", obj, f"the rules for {status or 'a deployment status'}",
                fix="one a policy, and workers before the cluster before the job itself",
            )  # fmt: skip


def _cron(obj: Json) -> Iterator[Finding]:
    if "TZ=" in text(obj, "spec", "schedule"):
        yield fault("cron-zone", obj, "schedule names a zone", fix="spec.timeZone")
    if not text(obj, "spec", "timeZone"):
        yield fault("cron-zone", obj, "timeZone is missing: the operator's own zone would count")


def _whole(value: object, *path: str | int) -> int:
    found = dig(value, *path)
    return found if isinstance(found, int) else 0


def _place(order: Sequence[str], policy: str) -> int:
    return order.index(policy) if policy in order else len(order)

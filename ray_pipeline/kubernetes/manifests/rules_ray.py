"""
KubeRay's rules that its CRDs lack: the operator refuses these objects, or they do harm.

Source: `ray-operator/controllers/ray/utils/validation.go` and `constant.go` of KubeRay 1.7.0.
"""

import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

import yaml

from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    by_name,
    dig,
    elements,
    items,
    kind_of,
    mapping,
    name_of,
    number,
    selects,
    text,
)
from ray_pipeline.kubernetes.manifests.lint_finding import LintFinding, fault, faults
from ray_pipeline.kubernetes.manifests.pod_templates import cluster_spec, templates

MODES = ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
LONGEST_NAME = {"RayCluster": 53, "RayService": 47, "RayJob": 47, "RayCronJob": 36}
DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
SET_BY_OPERATOR = "the operator sets it from gcsFaultToleranceOptions"
FT_VARIABLES = ("RAY_REDIS_ADDRESS", "REDIS_PASSWORD", "REDIS_USERNAME")
FT_PARAMS = ("redis-password", "redis-username")
GATED = {"networkPolicy": "RayClusterNetworkPolicy", "tlsOptions": "RayClusterMTLS"}
LATEST_VALUES: Json = {"app.kubernetes.io/component": "redis"}
TOKEN_VERSION = (2, 52)
DELETION_ORDER = ("DeleteWorkers", "DeleteCluster", "DeleteSelf")
INITIALIZING_TIMEOUT = "ray.io/initializing-timeout"
OWN_POLICIES = "leave it out; kuberay/base contains NetworkPolicies"
NEEDS_SHUTDOWN = "it needs shutdownAfterJobFinishes: true"


def of_ray(objects: Sequence[Json]) -> Iterator[LintFinding]:
    """Yield the fields that KubeRay's operator refuses."""
    for obj in objects:
        kind = kind_of(obj)
        if kind not in LONGEST_NAME:
            continue
        yield from _names(obj, kind)
        if cluster_spec(obj):
            yield from _cluster(obj, cluster_spec(obj))
            yield from _state_store(obj, cluster_spec(obj), objects)
        if kind == "RayService":
            yield from _service(obj)
        if kind == "RayJob":
            yield from _job(obj, mapping(obj, "spec"))
        if kind == "RayCronJob":
            yield from _cron(obj)


def _names(obj: Json, kind: str) -> Iterator[LintFinding]:
    name, version = name_of(obj), text(obj, "apiVersion")
    if len(name) > LONGEST_NAME[kind] or not DNS_1035.fullmatch(name):
        fix = f"at most {LONGEST_NAME[kind]} characters a-z, 0-9 and -; first a letter"
        yield fault("ray-name", obj, f"metadata.name: {name!r}", fix=fix)
    if version != "ray.io/v1":
        yield fault("ray-version", obj, f"apiVersion: {version}", fix="ray.io/v1")


def _cluster(obj: Json, spec: Json) -> Iterator[LintFinding]:
    ray_version = text(spec, "rayVersion")
    if not ray_version:
        fix = "set it: without it the probes need bash and wget, and use the wrong port"
        yield fault("ray-probes", obj, "rayVersion is missing", fix=fix)
    for name, gate in GATED.items():
        if dig(spec, name) is not None:
            message = f"{name} needs the feature gate {gate}, which is off"
            yield fault("ray-gate", obj, message, fix=OWN_POLICIES)
    if dig(spec, "upgradeStrategy") is not None and kind_of(obj) != "RayCluster":
        fix = "it belongs to a plain RayCluster"
        yield fault("ray-upgrade", obj, "the cluster's upgradeStrategy is refused here", fix=fix)
    yield from _group(obj, spec, path="headGroupSpec", group=mapping(spec, "headGroupSpec"))
    for index, group in enumerate(items(spec, "workerGroupSpecs")):
        yield from _group(obj, spec, path=f"workerGroupSpecs.{index}", group=group)
    version = tuple(int(part) for part in re.findall(r"\d+", ray_version)[:2])
    if text(spec, "authOptions", "mode") == "token" and version and version < TOKEN_VERSION:
        yield fault("ray-auth", obj, "authOptions.mode: token needs rayVersion 2.52 or newer")


def _group(obj: Json, spec: Json, *, path: str, group: Json) -> Iterator[LintFinding]:
    params = mapping(group, "rayStartParams")
    autoscaling = dig(spec, "enableInTreeAutoscaling") is True
    yield from faults(
        "ray-params", obj,
        ("labels" in params, f"{path}.rayStartParams.labels is refused", "use labels"),
        (
            dig(group, "resources") is not None and "resources" in params,
            f"{path}: resources and rayStartParams.resources", "",
        ),
    )  # fmt: skip
    missing = {"minReplicas", "maxReplicas"} - group.keys()
    if path != "headGroupSpec" and not autoscaling and missing:
        yield fault("ray-replicas", obj, f"{path}: {', '.join(sorted(missing))} missing")
    restart = text(group, "template", "spec", "restartPolicy")
    if autoscaling and restart not in {"", "Never"}:
        yield fault("ray-autoscaler", obj, f"{path}: restartPolicy {restart}", fix="Never")
    if dig(spec, "gcsFaultToleranceOptions") is not None:
        for field in _fault_tolerance(obj, path, group):
            yield fault("ray-redis", obj, field, fix=SET_BY_OPERATOR)


def _fault_tolerance(obj: Json, path: str, group: Json) -> Iterator[str]:
    """Yield the fields that set what gcsFaultToleranceOptions sets."""
    for name in FT_PARAMS:
        if name in mapping(group, "rayStartParams"):
            yield f"{path}.rayStartParams.{name}"
    for container in items(group, "template", "spec", "containers"):
        for variable in items(container, "env"):
            if text(variable, "name") in FT_VARIABLES:
                yield f"{path}: {text(variable, 'name')}"
    if "ray.io/ft-enabled" in mapping(obj, "metadata", "annotations"):
        yield "the annotation ray.io/ft-enabled"


def _state_store(obj: Json, spec: Json, objects: Sequence[Json]) -> Iterator[LintFinding]:
    """Yield the faults of the Redis of the manifests that holds the state of the head."""
    address = text(spec, "gcsFaultToleranceOptions", "redisAddress")
    host = address.rpartition("//")[2].partition(":")[0].partition(".")[0]
    selector = mapping(by_name(objects, "Service").get(host, {}), "spec", "selector")
    if not selector:
        return  # outside the manifests
    if selector == LATEST_VALUES:
        yield fault(
            "ray-redis-shared", obj, f"{address} also holds latest values, which may fill it",
            fix="use the component gcs-redis: a head that cannot write its state aborts",
        )  # fmt: skip
    for template in templates(objects):
        arguments = " ".join(
            str(part)
            for container in template.containers
            for part in elements(container, "command") + elements(container, "args")
        )
        policy = re.search(r"--maxmemory-policy[ =]+(\S+)", arguments)
        if selects(selector, template.labels) and policy and policy[1] != "noeviction":
            yield fault(
                "ray-redis-evicts", template.owner, f"--maxmemory-policy {policy[1]}",
                fix="noeviction: eviction deletes the state of a running cluster",
            )  # fmt: skip


def _service(obj: Json) -> Iterator[LintFinding]:
    spec = cluster_spec(obj)
    if INITIALIZING_TIMEOUT in mapping(obj, "metadata", "annotations"):
        fix = "leave it out: after this timeout, the service can only be deleted"
        yield fault("service-timeout", obj, f"the annotation {INITIALIZING_TIMEOUT}", fix=fix)
    if text(obj, "spec", "headService", "metadata", "name"):
        yield fault("service-name", obj, "headService.metadata.name must be empty")
    if text(spec, "gcsFaultToleranceOptions", "externalStorageNamespace"):
        fix = "leave it out: the two clusters of an upgrade would share it and break each other"
        yield fault("service-storage", obj, "externalStorageNamespace", fix=fix)
    for index, group in enumerate(items(spec, "workerGroupSpecs")):
        if dig(group, "template", "spec", "containers", 0, "readinessProbe") is None:
            yield fault(
                "service-readiness", obj, f"workerGroupSpecs.{index} has no readinessProbe",
                fix="add one: KubeRay's default waits for a Serve replica, which most nodes lack",
            )  # fmt: skip
    yield from _applications(obj, text(obj, "spec", "serveConfigV2"))


def _applications(obj: Json, config: str) -> Iterator[LintFinding]:
    """Yield the faults of a configuration of Serve: no application, or no such module."""
    try:
        applications = items(yaml.safe_load(config), "applications")
    except yaml.YAMLError as error:
        yield fault("serve-config", obj, f"it is not YAML: {error}")
        return
    if not applications:
        fix = "a RayService without one never becomes ready"
        yield fault("serve-config", obj, "no application", fix=fix)
    for application in applications:
        path = text(application, "import_path")
        module, _, name = path.partition(":")
        try:
            exists = bool(name) and find_spec(module) is not None
        except (ModuleNotFoundError, ValueError):
            exists = False
        if not exists:
            yield fault("serve-import", obj, f"nothing is at {path!r}")


def _job(obj: Json, spec: Json) -> Iterator[LintFinding]:
    mode = text(spec, "submissionMode") or "K8sJobMode"
    ends = dig(spec, "shutdownAfterJobFinishes") is True
    selector = mapping(spec, "clusterSelector")
    if mode not in MODES:
        yield fault("job-mode", obj, f"submissionMode: {mode!r}", fix=f"one of {', '.join(MODES)}")
    if dig(spec, "suspend") is True and (not ends or selector):
        yield fault("job-suspend", obj, "suspend", fix=f"{NEEDS_SHUTDOWN} and no clusterSelector")
    if number(spec, "ttlSecondsAfterFinished") > 0 and not ends:
        yield fault("job-ttl", obj, "ttlSecondsAfterFinished", fix=NEEDS_SHUTDOWN)
    if mode == "InteractiveMode" and number(spec, "backoffLimit") > 0:
        yield fault("job-backoff", obj, "backoffLimit is refused in InteractiveMode")
    if selector:
        yield from _selected(obj, spec, mode=mode, selector=selector)
    yield from _deletion(obj, spec, ends=ends)


def _selected(obj: Json, spec: Json, *, mode: str, selector: Json) -> Iterator[LintFinding]:
    """Yield the faults of a job that runs on an existing cluster."""
    yield from faults(
        "job-selector", obj,
        (
            set(selector) != {"ray.io/cluster"}, f"clusterSelector: {', '.join(selector)}",
            "the key is ray.io/cluster, the value the RayCluster's name",
        ),
        (mode == "SidecarMode", "clusterSelector is refused in SidecarMode", ""),
        (
            number(spec, "backoffLimit") > 0, "backoffLimit is refused with clusterSelector",
            "submitterConfig.backoffLimit repeats the submission",
        ),
    )  # fmt: skip
    for rule in items(spec, "deletionStrategy", "deletionRules"):
        if text(rule, "policy") in {"DeleteCluster", "DeleteWorkers"}:
            yield fault("job-selector", obj, f"{text(rule, 'policy')} with clusterSelector")


def _deletion(obj: Json, spec: Json, *, ends: bool) -> Iterator[LintFinding]:
    rules = items(spec, "deletionStrategy", "deletionRules")
    legacy = {"onSuccess", "onFailure"} & mapping(spec, "deletionStrategy").keys()
    if rules and (ends or legacy):
        yield fault(
            "job-deletion", obj, "deletionRules with shutdownAfterJobFinishes or onSuccess",
            fix="use the rules alone",
        )  # fmt: skip
    # For each status of the job, a policy occurs once, and larger deletions come later.
    for status in {text(rule, "condition", "jobStatus") for rule in rules}:
        delays = sorted(
            (_deletion_rank(rule), number(rule, "condition", "ttlSeconds"))
            for rule in rules
            if text(rule, "condition", "jobStatus") == status
        )
        ranks, seconds = [rank for rank, _ in delays], [delay_s for _, delay_s in delays]
        if seconds != sorted(seconds) or len(ranks) != len(set(ranks)):
            yield fault(
                "job-deletion", obj, f"the rules for {status or 'a deployment status'}",
                fix="one rule for each policy: workers before the cluster before the job itself",
            )  # fmt: skip


def _deletion_rank(rule: Json) -> tuple[int, str]:
    policy = text(rule, "policy")
    is_listed = policy in DELETION_ORDER
    return DELETION_ORDER.index(policy) if is_listed else len(DELETION_ORDER), policy


def _cron(obj: Json) -> Iterator[LintFinding]:
    yield from faults(
        "cron-zone", obj,
        ("TZ=" in text(obj, "spec", "schedule"), "schedule names a time zone", "spec.timeZone"),
        (
            not text(obj, "spec", "timeZone"),
            "timeZone is missing: the operator's time zone would apply", "",
        ),
    )  # fmt: skip

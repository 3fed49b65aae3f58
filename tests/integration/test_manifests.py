"""The manifests are right, and the rules can tell: each finds what was broken for it."""

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ray_pipeline.cli.deploy import ROOTS
from ray_pipeline.errors import ConfigurationError
from ray_pipeline.kubernetes.deploy.manifest_source import read, without_components
from ray_pipeline.kubernetes.deploy.order import waves
from ray_pipeline.kubernetes.manifests.all_rules import lint
from ray_pipeline.kubernetes.manifests.build import build
from ray_pipeline.kubernetes.manifests.schemas import read_crds

ROOT = Path(__file__).parents[2]
CRDS = ROOT.parent / "shared" / "crds"
EXAMPLES = [str(ROOT / "kuberay" / name) for name in ("jobs", "restore")]
SOURCES = ("ha", "lite", "dev", *EXAMPLES)
needs_crds = pytest.mark.skipif(not CRDS.is_dir(), reason="../shared/crds is not here")


@pytest.fixture(scope="module")
def built():
    return {source: read(source, build, roots=ROOTS, namespace=None) for source in SOURCES}


@pytest.fixture(scope="module")
def crds():
    return read_crds(CRDS)


@pytest.mark.parametrize("source", SOURCES)
def test_the_rules_find_nothing(built, source):
    assert lint(built[source]) == []


@needs_crds
@pytest.mark.parametrize("source", SOURCES)
def test_every_object_fits_its_schema(built, crds, source):
    assert lint(built[source], crds=crds) == []


@needs_crds
def test_git_sync_can_be_added_to_both_profiles(crds, tmp_path):
    """A component that no overlay has by default."""
    manifests = tmp_path / "kuberay"
    shutil.copytree(ROOT / "kuberay", manifests)
    for profile in ("ha", "lite"):
        overlay = manifests / "overlays" / f"{profile}-with-git-sync"
        overlay.mkdir()
        (overlay / "kustomization.yaml").write_text(
            f"resources: [../{profile}]\ncomponents: [../../components/git-sync]\n"
        )
        objects = build(overlay)
        assert lint(objects, crds=crds) == []
        ray = next(one for one in objects if one["kind"] in {"RayService", "RayCluster"})
        assert json.dumps(ray).count('"git-sync"') >= 2


def find(objects, kind, name=None):
    return next(
        one for one in objects if one["kind"] == kind and name in (None, one["metadata"]["name"])
    )


def put(objects, kind, path, value, *, name=None):
    """Set what is at a dotted path of an object; `...` removes it."""
    target = find(objects, kind, name)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split("|")]
    for step in steps:
        target = target[step] if isinstance(step, int) else target.setdefault(step, {})
    if value is ...:
        del target[last]
    elif isinstance(target, list) and last == len(target):
        target.append(value)
    else:
        target[last] = value


CLUSTER = "spec|rayClusterConfig"
HEAD = f"{CLUSTER}|headGroupSpec|template|spec"
WORKER = f"{CLUSTER}|workerGroupSpecs|0"
FIRST = "containers|0"
BREAKS = [
    # The operator's own rules.
    ("ray-name", "RayService", "metadata|name", "Ray_Pipeline"),
    ("ray-name", "RayService", "metadata|name", "r" * 48),
    ("ray-version", "RayService", "apiVersion", "ray.io/v1alpha1"),
    ("ray-probes", "RayService", f"{CLUSTER}|rayVersion", ...),
    ("ray-gate", "RayService", f"{CLUSTER}|networkPolicy", {"mode": "DenyAll"}),
    ("ray-params", "RayService", f"{CLUSTER}|headGroupSpec|rayStartParams|labels", "a=b"),
    ("ray-replicas", "RayService", f"{WORKER}|maxReplicas", ...),
    ("ray-redis", "RayService", f"{HEAD}|{FIRST}|env|0|name", "RAY_REDIS_ADDRESS"),
    ("ray-redis", "RayService", f"{WORKER}|rayStartParams|redis-password", "x"),
    ("ray-redis-shared", "RayService",
     f"{CLUSTER}|gcsFaultToleranceOptions|redisAddress", "redis://redis.ray-pipeline.svc:6379"),
    ("ray-auth", "RayService", f"{CLUSTER}|rayVersion", "2.51.0"),
    ("ray-upgrade", "RayService", f"{CLUSTER}|upgradeStrategy", {"type": "Recreate"}),
    ("service-timeout", "RayService", "metadata|annotations",
     {"ray.io/initializing-timeout": "5m"}),
    ("service-name", "RayService", "spec|headService", {"metadata": {"name": "mine"}}),
    ("service-readiness", "RayService", f"{WORKER}|template|spec|{FIRST}|readinessProbe", ...),
    ("service-storage", "RayService",
     f"{CLUSTER}|gcsFaultToleranceOptions|externalStorageNamespace", "mine"),
    ("serve-config", "RayService", "spec|serveConfigV2", "applications: []"),
    ("serve-config", "RayService", "spec|serveConfigV2", "a: [b"),
    ("serve-import", "RayService", "spec|serveConfigV2",
     "applications: [{import_path: 'ray_pipeline.gone:app'}]"),
    # Safety.
    ("pod-root", "RayService", f"{HEAD}|securityContext|runAsNonRoot", False),
    ("pod-seccomp", "RayService", f"{HEAD}|securityContext|seccompProfile", ...),
    ("pod-token", "StatefulSet", "spec|template|spec|automountServiceAccountToken", ...),
    ("pod-escalation", "Job", f"spec|template|spec|{FIRST}|securityContext", {}),
    ("pod-root-disk", "Job", f"spec|template|spec|{FIRST}|securityContext", {}),
    ("pod-capabilities", "Job", f"spec|template|spec|{FIRST}|securityContext", {}),
    ("pod-image", "Job", f"spec|template|spec|{FIRST}|image", "ray-pipeline"),
    ("pod-image", "Job", f"spec|template|spec|{FIRST}|image", "ray-pipeline:latest"),
    ("pod-memory", "RayService", f"{HEAD}|{FIRST}|resources|limits|memory", "4Gi"),
    ("one-image", "Job", f"spec|template|spec|{FIRST}|image", "ray-pipeline:0.2.0"),
    ("setting", "ConfigMap", "data|PIPELINE_KAFKA__BOOTSTRAP", "x"),
    ("setting", "RayService", f"{HEAD}|{FIRST}|env|0|name", "PIPELINE_GENERATION"),
    ("secret-value", "RayService", f"{HEAD}|{FIRST}|env|0",
     {"name": "PIPELINE_API__TOKEN", "value": "abc"}),
    ("ray-disk", "RayService", f"{HEAD}|{FIRST}|volumeMounts|0|mountPath", "/var/tmp"),
    ("ray-grace", "RayService", f"{HEAD}|terminationGracePeriodSeconds", 0),
    ("ray-grace", "RayService", f"{WORKER}|template|spec|{FIRST}|env",
     [{"name": "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", "value": "150"}]),
    ("ray-drain", "RayService", f"{WORKER}|template|spec|{FIRST}|lifecycle", ...),
    ("ray-drain", "RayService",
     f"{WORKER}|template|spec|{FIRST}|lifecycle|preStop|exec|command", ["sleep", "10"]),
    ("ray-redis-headless", "RayService",
     f"{CLUSTER}|gcsFaultToleranceOptions|redisAddress", "gcs-redis.ray-pipeline.svc:6379"),
    ("kuberay-version", "HelmChart", "spec|version", "1.5.1"),
    ("sizing", "RayService", f"{WORKER}|replicas", 12),
    # References.
    ("ref-secret", "RayService", f"{HEAD}|{FIRST}|env|1|valueFrom|secretKeyRef|name", "gone"),
    ("ref-secret", "RayService", f"{HEAD}|{FIRST}|env|1|valueFrom|secretKeyRef|key", "gone"),
    ("ref-secret", "RayService", f"{CLUSTER}|authOptions|secretName", "gone"),
    ("ref-secret", "RayService", f"{HEAD}|volumes|2|secret|secretName", "gone"),
    ("ref-configmap", "RayService", f"{HEAD}|{FIRST}|envFrom|0|configMapRef|name", "gone"),
    ("ref-claim", "CronJob",
     "spec|jobTemplate|spec|template|spec|volumes|0|persistentVolumeClaim|claimName", "gone"),
    ("ref-volume", "Job", f"spec|template|spec|{FIRST}|volumeMounts|0|name", "gone"),
    ("ref-account", "Job", "spec|template|spec|serviceAccountName", "gone"),
    ("ref-priority", "StatefulSet", "spec|template|spec|priorityClassName", "gone"),
    ("ref-selector", "Service", "spec|selector", {"app": "gone"}),
    ("ref-port", "Service", "spec|ports|0|targetPort", "gone"),
    ("ref-service", "Ingress", "spec|rules|0|http|paths|0|backend|service|name", "gone"),
    ("ref-port", "Ingress", "spec|rules|0|http|paths|0|backend|service|port|number", 81),
    ("ref-selector", "PodDisruptionBudget", "spec|selector|matchLabels", {"app": "gone"}),
    ("ref-selector", "PodMonitor", "spec|selector|matchLabels", {"app": "gone"}),
    ("ref-port", "PodMonitor", "spec|podMetricsEndpoints|0|port", "gone"),
    ("ref-selector", "NetworkPolicy", "spec|podSelector|matchLabels", {"app": "gone"}),
    ("ray-label", "NetworkPolicy", "spec|podSelector|matchLabels", {"ray.io/cluster": "x"}),
    # Kafka against what the code does with it.
    ("kafka-label", "KafkaTopic", "metadata|labels", {"strimzi.io/cluster": "gone"}),
    ("kafka-topic", "KafkaTopic", "metadata|name", "gone"),
    ("kafka-topic", "KafkaTopic", "spec|partitions", 7),
    ("kafka-topic", "KafkaTopic", "spec|config", {"message.timestamp.type": "CreateTime"}),
    ("kafka-topic", "ConfigMap", "data|PIPELINE_FEEDS__SP500__PARTITIONS", "6"),
    ("kafka-topic", "ConfigMap", "data|PIPELINE_KAFKA__TOPIC_PREFIX", "x-"),
    ("kafka-acl", "ConfigMap", "data|PIPELINE_KAFKA__TOPIC_PREFIX", "x-"),
    ("kafka-replicas", "KafkaTopic", "spec|replicas", 5),
    ("kafka-replicas", "KafkaNodePool", "spec|replicas", 1),
    ("kafka-user", "KafkaUser", "metadata|name", "gone"),
    ("kafka-acl", "KafkaUser", "spec|authorization|acls|0|operations", ["Read"]),
    ("kafka-acl", "KafkaUser", "spec|authorization|acls|3|resource|name", "other-"),
    ("kafka-acl", "KafkaUser", "spec|authorization|acls|0|resource|name", "*"),
    ("kafka-listener", "Kafka", "spec|kafka|listeners|0|port", 9092),
    ("kafka-listener", "Kafka", "spec|kafka|listeners|0|tls", False),
    ("kafka-annotation", "Kafka", "metadata|annotations", {"strimzi.io/kraft": "enabled"}),
    # The order of an apply, and what pods may reach.
    ("wave-order", "KafkaUser", "metadata|annotations", {"ray-pipeline/wave": "everything else"}),
    ("wave-name", "StatefulSet", "metadata|annotations", {"ray-pipeline/wave": "storage"}),
    ("egress-open", "NetworkPolicy", "spec|egress|1", {"ports": [{"port": 443}]}),
    ("egress-open", "NetworkPolicy", "spec|egress|1", {}),
    ("egress-open", "NetworkPolicy", "spec|podSelector", {}),
    ("egress-open", "NetworkPolicy", "spec|podSelector|matchLabels",
     {"ray-pipeline/uses": "stores"}),
    ("egress-open", "NetworkPolicy", "spec|egress|1|to|0|ipBlock|cidr", "everything"),
    ("egress-inside", "NetworkPolicy", "spec|egress|1|to|0|ipBlock|except", ...),
    ("egress-inside", "NetworkPolicy", "spec|egress|1|to|0|ipBlock|except", ["10.0.0.0/8"]),
    ("egress-inside", "NetworkPolicy", "spec|egress|1|to|0|ipBlock",
     {"cidr": "128.0.0.0/1", "except": ["192.168.0.0/16"]}),
    # What is placed where, what may be evicted, and what may push out what.
    ("chart-namespace", "HelmChart", "metadata|namespace", "ray-pipeline"),
    ("chart-namespace", "HelmChart", "metadata|namespace", ...),
    ("budget-scale", "PodDisruptionBudget", "spec|minAvailable", ...),
    ("budget-scale", "PodDisruptionBudget", "spec|minAvailable", "50%"),
    ("budget-drain", "PodDisruptionBudget", "spec|minAvailable", 3),
    ("budget-drain", "RayService", f"{WORKER}|replicas", 2),
    ("priority-preempts", "PriorityClass", "preemptionPolicy", ...),
    ("priority-operator", "HelmChart", "spec|valuesContent", "singleNamespaceInstall: true"),
    ("job-vanishes", "Job", "spec|ttlSecondsAfterFinished", 60),
    # Alerts.
    ("metric", "PrometheusRule", "spec|groups|0|rules|0|expr", "ray_pipeline_gone_total > 1"),
    ("runbook", "PrometheusRule", "spec|groups|0|rules|0|annotations|runbook", "gone"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "kind", "path", "value"), BREAKS, ids=[f"{b[0]}-{n}" for n, b in enumerate(BREAKS)]
)
def test_a_rule_finds_what_is_broken(built, rule, kind, path, value):
    """One field of the shipped manifests is changed, and the rule for it speaks."""
    objects = copy.deepcopy(built["ha"])
    names = {"Service": "postgres", "ConfigMap": "pipeline-settings", "Job": "migrate",
             "StatefulSet": "postgres", "PodMonitor": "ray",
             "PriorityClass": "ray-pipeline-batch"}  # fmt: skip
    name = names.get(kind) if kind != "NetworkPolicy" else "ray-nodes"

    put(objects, kind, path, value, name=name)

    assert rule in {finding.rule for finding in lint(objects)}


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "0.0.0.0/1", "8.0.0.0/8", "::/0"])
@pytest.mark.parametrize("policy", ["kafka", "kafka-to-api-server", "to-stores", "redis"])
def test_only_nodes_of_ray_may_reach_the_internet(built, policy, cidr):
    """A pod that calls no provider has nothing to say to one."""
    objects = copy.deepcopy(built["lite"])
    rule = {"to": [{"ipBlock": {"cidr": cidr}}], "ports": [{"port": 443}]}
    put(objects, "NetworkPolicy", "spec|egress", [rule], name=policy)
    assert "egress-open" in {finding.rule for finding in lint(objects)}


@pytest.mark.parametrize("cidr", ["10.43.0.1/32", "192.168.0.0/16", "203.0.113.5/32"])
def test_named_addresses_may_be_reached(built, cidr):
    """The API server, and stores outside the cluster."""
    objects = copy.deepcopy(built["lite"])
    rule = {"to": [{"ipBlock": {"cidr": cidr}}], "ports": [{"port": 5432}]}
    put(objects, "NetworkPolicy", "spec|egress|3", rule, name="to-stores")
    assert lint(objects) == []


# What is applied late, by words that only an object has that needs it.
LATE = {
    "ray-pipeline-head-svc": "Ray",
    "kafka-kafka-bootstrap": "Kafka",
    "kafka-cluster-ca-cert": "Kafka",
    '"name": "ray-pipeline", "key": "password"': "topics and users",
    '"key": "password", "name": "ray-pipeline"': "topics and users",
}
WAITED_FOR = {"Deployment", "StatefulSet", "DaemonSet", "Job", "Kafka", "RayCluster", "RayService"}


@pytest.mark.parametrize("source", ["lite", "ha", "dev"])
def test_nothing_is_waited_for_before_what_it_needs_is_applied(built, source):
    """Or the first apply never ends: an object with such a word comes after what the word is of."""
    order = [wave.name for wave in waves(built[source])]
    checked = 0
    for wave in waves(built[source]):
        for obj in wave.objects:
            words = json.dumps(obj)
            needed = [late for word, late in LATE.items() if word in words]
            if obj["kind"] in WAITED_FOR and needed:
                assert all(order.index(wave.name) > order.index(late) for late in needed)
                checked += 1
    assert checked >= (1 if source == "ha" else 2)


def test_the_order_of_lite_is_an_order_of_needs(built):
    """The keeper among the stores would wait for Ray, and Ray for the stores."""
    objects = copy.deepcopy(built["lite"])
    put(objects, "Deployment", "metadata|annotations", {"ray-pipeline/wave": "stores"})
    (finding,) = [one for one in lint(objects) if one.rule == "wave-order"]
    assert "RayCluster ray-pipeline" in finding.what


@pytest.mark.parametrize(
    ("policy", "found"), [("allkeys-lru", True), ("volatile-ttl", True), ("noeviction", False)]
)
def test_the_redis_of_the_head_must_not_evict(built, policy, found):
    """Eviction deletes the state of a running cluster; the Redis of latest values may evict."""
    objects = json.loads(json.dumps(built["ha"]).replace("noeviction", policy))

    findings = [item for item in lint(objects) if item.rule == "ray-redis-evicts"]

    assert len(findings) == found
    assert all("gcs-redis" in item.where for item in findings)


def test_the_head_has_a_redis_of_its_own(built):
    """No pod but Ray's reaches it, and its password is not that of the latest values."""
    by_key = {(item["kind"], item["metadata"]["name"]): item for item in built["ha"]}
    options = by_key["RayService", "ray-pipeline"]["spec"]["rayClusterConfig"][
        "gcsFaultToleranceOptions"
    ]
    assert options["redisAddress"] == "gcs-state:6379"
    assert options["redisPassword"]["valueFrom"]["secretKeyRef"]["name"] == "gcs-redis-password"
    (rule,) = by_key["NetworkPolicy", "gcs-redis"]["spec"]["ingress"]
    assert [peer["podSelector"]["matchLabels"] for peer in rule["from"]] == [
        {"app.kubernetes.io/component": "ray"}
    ]
    assert ("StatefulSet", "gcs-redis") not in {
        (item["kind"], item["metadata"]["name"]) for item in built["lite"]
    }


COMPONENTS = ["operators", "kafka", "postgres", "redis", "backup", "monitoring"]


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_can_be_left_out_by_name(built, component):
    """All objects of its folder, and no others."""
    left = without_components(built["lite"], [component])
    gone = {(one["kind"], one["metadata"]["name"]) for one in built["lite"] if one not in left}
    documents = [
        document
        for path in (ROOT / "kuberay" / "components" / component).glob("*.yaml")
        for document in yaml.safe_load_all(path.read_text())
        if path.name != "kustomization.yaml"
    ]
    wanted = {(one["kind"], one["metadata"]["name"]) for one in documents}
    if component == "monitoring":
        wanted |= {("ConfigMap", "grafana-ray-pipeline")}
    assert gone == wanted


def test_without_monitoring_nothing_needs_the_prometheus_operator(built):
    """So a bare K3s serves every kind, with what the operators' charts bring."""
    for source in ("lite", "ha", "dev"):
        left = without_components(built[source], ["monitoring"])
        assert not [one for one in left if "coreos" in one["apiVersion"]]
        assert lint(left) == []


def test_a_component_that_is_not_there_is_an_error(built):
    """With the names of those that are."""
    with pytest.raises(ConfigurationError) as refused:
        without_components(built["lite"], ["monitor"])
    assert ", ".join(sorted(COMPONENTS)) in refused.value.fix


JOB_BREAKS = [
    ("job-mode", "spec|submissionMode", "K8SJobMode"),
    ("job-suspend", "spec|suspend", True),
    ("job-ttl", "spec|ttlSecondsAfterFinished", 60),
    ("job-selector", "spec|clusterSelector", {"cluster": "ray-pipeline"}),
    ("job-selector", "spec|backoffLimit", 2),
    ("job-selector", "spec|submissionMode", "SidecarMode"),
]


@pytest.mark.parametrize(("rule", "path", "value"), JOB_BREAKS)
def test_a_rule_of_jobs_finds_what_is_broken(built, rule, path, value):
    objects = copy.deepcopy(built[EXAMPLES[0]])
    put(objects, "RayJob", path, value)
    assert rule in {finding.rule for finding in lint(objects)}


def rayjob(**spec):
    entry = {"entrypoint": "x", "submissionMode": "K8sJobMode"} | spec
    return [{"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": "a"}, "spec": entry}]


def deletes(policy, seconds):
    return {"policy": policy, "condition": {"jobStatus": "SUCCEEDED", "ttlSeconds": seconds}}


@pytest.mark.parametrize(
    ("rule", "objects"),
    [
        ("job-backoff", rayjob(submissionMode="InteractiveMode", backoffLimit=1)),
        ("job-deletion", rayjob(shutdownAfterJobFinishes=True, deletionStrategy={
            "deletionRules": [deletes("DeleteSelf", 1)]})),
        ("job-deletion", rayjob(deletionStrategy={
            "deletionRules": [deletes("DeleteWorkers", 9), deletes("DeleteSelf", 1)]})),
        ("cron-zone", [{"apiVersion": "ray.io/v1", "kind": "RayCronJob", "metadata": {"name": "a"},
                        "spec": {"schedule": "TZ=Asia/Seoul 0 0 * * *", "timeZone": "UTC"}}]),
        ("cron-zone", [{"apiVersion": "ray.io/v1", "kind": "RayCronJob", "metadata": {"name": "a"},
                        "spec": {"schedule": "0 0 * * *"}}]),
        ("dashboard", [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
                        "data": {"a.json": "{"}}]),
        ("secret-value", [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"},
                           "data": {}}]),
    ],
)  # fmt: skip
def test_a_rule_speaks_where_the_shipped_manifests_have_nothing_like_it(rule, objects):
    assert rule in {finding.rule for finding in lint(objects)}


@needs_crds
@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("RayService", f"{CLUSTER}|headGroupSpec|rayStartParams|num-cpus", 0),
        ("RayService", f"{CLUSTER}|headGroupSpecs", {}),
        ("RayService", f"{HEAD}|{FIRST}|imagePulPolicy", "Always"),
        ("Kafka", "spec|kafka|replicas", 3),
        ("Kafka", "apiVersion", "kafka.strimzi.io/v1beta2"),
        ("Kafka", "spec|kafka|listeners|0|name", "Not_Allowed"),
        ("KafkaNodePool", "spec|roles", ["brokr"]),
        ("KafkaUser", "spec|authorization|acls|0|operations", ["Reed"]),
        ("PodMonitor", "spec|podMetricsEndpoint", []),
        ("PrometheusRule", "spec|groups|0|rules|0|for", "five minutes"),
        ("HelmChart", "spec|failurePolicy", ["abort"]),
        ("StatefulSet", "spec|template|spec|container", []),
        ("NetworkPolicy", "spec|ingres", []),
        ("Ingress", "spec|rules|0|http|paths|0|pathType", ...),
        ("CronJob", "spec|schedule", 5),
    ],
)
def test_the_schemas_refuse_what_is_misspelt(built, crds, kind, path, value):
    objects = copy.deepcopy(built["ha"])
    put(objects, kind, path, value)
    assert "schema" in {finding.rule for finding in lint(objects, crds=crds)}


def test_the_command_says_what_is_wrong_and_what_to_do(built, tmp_path):
    """Status 1, the object, the rule and the fix; the same as JSON."""
    objects = copy.deepcopy(built["lite"])
    put(objects, "RayCluster", "spec|rayVersion", ...)
    file = tmp_path / "manifests.json"
    file.write_text(json.dumps({"kind": "List", "items": objects}))

    done = subprocess.run(
        [sys.executable, "-m", "ray_pipeline.cli.main", "lint", str(file)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    as_json = subprocess.run(
        [sys.executable, "-m", "ray_pipeline.cli.main", "lint", "--json", str(file)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert done.returncode == as_json.returncode == 1
    assert "RayCluster ray-pipeline: rayVersion is missing [ray-probes]" in done.stdout
    assert "fix: " in done.stdout
    assert [one["rule"] for one in json.loads(as_json.stdout)[str(file)]] == ["ray-probes"]

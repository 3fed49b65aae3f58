"""References between objects: each name must be the name of an existing object."""

from collections.abc import Iterable, Iterator, Sequence

from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    by_name,
    dig,
    items,
    kind_of,
    mapping,
    name_of,
    number,
    of_kind,
    selects,
    text,
)
from ray_pipeline.kubernetes.manifests.lint_finding import LintFinding, fault
from ray_pipeline.kubernetes.manifests.pod_templates import Template, templates

# Created by hand, as docs/kubernetes.md shows, with these keys.
SECRETS = {
    "pipeline-secrets": {"postgres-dsn", "redis-url", "api-keys", "api-token"},
    "postgres-password": {"password"},
    "redis-password": {"password"},
    "gcs-redis-password": {"password"},
    "ray-auth": {"auth_token"},
    "pipeline-tls": {"tls.crt", "tls.key"},
    "git-sync": {"repo", "ref"},
}
HEAD_PORTS = {6379, 8000, 8080, 8265, 10001}  # of the Service that KubeRay creates for a head
NAMESPACES = {"kube-system", "kuberay-system", "strimzi-system", "monitoring"}
USES = "ray-pipeline/uses"


def of_references(objects: Sequence[Json]) -> Iterator[LintFinding]:
    """Yield names without an object of that name."""
    for template in templates(objects):
        yield from _volumes(template, objects)
        yield from _variables(template, objects)
        yield from _named_objects(template, objects)
    yield from _services(objects)
    yield from _ingresses(objects)
    yield from _selectors(objects)
    yield from _monitors(objects)
    yield from _clusters(objects)


def _secrets(objects: Sequence[Json]) -> dict[str, set[str]]:
    """Return the keys of every Secret of the manifests, of operators, and made by hand."""
    keys = dict(SECRETS)
    for name, secret in by_name(objects, "Secret").items():
        keys[name] = set(mapping(secret, "data")) | set(mapping(secret, "stringData"))
    for name in by_name(objects, "KafkaUser"):
        keys[name] = {"password", "sasl.jaas.config"}
    for name in by_name(objects, "Kafka"):
        keys[f"{name}-cluster-ca-cert"] = {"ca.crt", "ca.p12", "ca.password"}
    return keys


def _secret(
    owner: Json, name: str, keys: Iterable[str], objects: Sequence[Json]
) -> Iterator[LintFinding]:
    secrets = _secrets(objects)
    if name not in secrets:
        fix = f"one of {', '.join(sorted(secrets))}"
        yield fault("ref-secret", owner, f"no Secret {name!r}", fix=fix)
        return
    for key in sorted(set(keys) - secrets[name]):
        fix = f"one of {', '.join(sorted(secrets[name]))}"
        yield fault("ref-secret", owner, f"Secret {name!r} has no key {key!r}", fix=fix)


def _volumes(template: Template, objects: Sequence[Json]) -> Iterator[LintFinding]:
    owner = template.owner
    volumes = items(template.spec, "volumes")
    names = {text(volume, "name") for volume in volumes}
    names |= set(map(name_of, items(owner, "spec", "volumeClaimTemplates")))
    for volume in volumes:
        if secret := text(volume, "secret", "secretName"):
            keys = [text(item, "key") for item in items(volume, "secret", "items")]
            yield from _secret(owner, secret, keys, objects)
        config_map = text(volume, "configMap", "name")
        if config_map and config_map not in by_name(objects, "ConfigMap"):
            yield fault("ref-configmap", owner, f"no ConfigMap {config_map!r}")
    for container in template.containers:
        for mount in items(container, "volumeMounts"):
            if text(mount, "name") not in names:
                yield fault("ref-volume", owner, f"no volume {text(mount, 'name')!r}")


def _variables(template: Template, objects: Sequence[Json]) -> Iterator[LintFinding]:
    owner = template.owner
    for container in template.containers:
        for source in items(container, "envFrom"):
            name = text(source, "configMapRef", "name")
            if name and name not in by_name(objects, "ConfigMap"):
                yield fault("ref-configmap", owner, f"no ConfigMap {name!r}")
            if text(source, "secretRef", "name"):
                fix = "name its keys one by one, so that a missing key is an error"
                yield fault("ref-secret", owner, "envFrom a whole Secret", fix=fix)
        for variable in items(container, "env"):
            if ref := mapping(variable, "valueFrom", "secretKeyRef"):
                yield from _secret(owner, text(ref, "name"), [text(ref, "key")], objects)
    for spec in (mapping(owner, "spec", "rayClusterConfig"), mapping(owner, "spec")):
        password = ("gcsFaultToleranceOptions", "redisPassword", "valueFrom", "secretKeyRef")
        if ref := mapping(spec, *password):
            yield from _secret(owner, text(ref, "name"), [text(ref, "key")], objects)
        if name := text(spec, "authOptions", "secretName"):
            yield from _secret(owner, name, ["auth_token"], objects)


def _named_objects(template: Template, objects: Sequence[Json]) -> Iterator[LintFinding]:
    """Yield claims, accounts and priorities that do not exist."""
    # Objects without a Namespace are only a part of an overlay, such as the examples of jobs.
    if not of_kind(objects, "Namespace"):
        return
    claims = [
        text(volume, "persistentVolumeClaim", "claimName")
        for volume in items(template.spec, "volumes")
    ]
    for rule, kind, names in (
        ("ref-claim", "PersistentVolumeClaim", claims),
        ("ref-account", "ServiceAccount", [text(template.spec, "serviceAccountName")]),
        ("ref-priority", "PriorityClass", [text(template.spec, "priorityClassName")]),
    ):
        for name in filter(None, names):
            if name not in by_name(objects, kind):
                yield fault(rule, template.owner, f"no {kind} {name!r}")


def _ports(selector: Json, objects: Sequence[Json]) -> list[Json] | None:
    """Return the ports of the selected pods; None if the selector matches no pod."""
    selected = [item for item in templates(objects) if selects(selector, item.labels)]
    if not selected:
        return None
    return [
        port
        for template in selected
        for container in template.containers
        for port in items(container, "ports")
    ]


def _services(objects: Sequence[Json]) -> Iterator[LintFinding]:
    for service in by_name(objects, "Service").values():
        ports = _ports(mapping(service, "spec", "selector"), objects)
        if ports is None:
            yield fault("ref-selector", service, "spec.selector matches no pod")
            continue
        targets = {text(port, "name") for port in ports}
        targets |= {text(port, "containerPort") for port in ports}
        for port in items(service, "spec", "ports"):
            target = text(port, "targetPort") or text(port, "port")
            if target not in targets:
                yield fault("ref-port", service, f"its pods have no port {target}")


def _ingresses(objects: Sequence[Json]) -> Iterator[LintFinding]:
    heads = {
        f"{name}-head-svc"
        for kind in ("RayCluster", "RayService")
        for name in by_name(objects, kind)
    }
    services = heads | by_name(objects, "Service").keys()
    for ingress in by_name(objects, "Ingress").values():
        for rule in items(ingress, "spec", "rules"):
            for path in items(rule, "http", "paths"):
                name = text(path, "backend", "service", "name")
                port = number(path, "backend", "service", "port", "number")
                if name not in services:
                    yield fault("ref-service", ingress, f"no Service {name!r}")
                elif name in heads and port not in HEAD_PORTS:
                    yield fault("ref-port", ingress, f"{name} has no port {port}")


def _selectors(objects: Sequence[Json]) -> Iterator[LintFinding]:
    """Yield policies and budgets that match no pod: they would protect nothing."""
    pod_labels = [item.labels for item in templates(objects)] + list(of_strimzi(objects))
    for budget in of_kind(objects, "PodDisruptionBudget"):
        yield from _selector(budget, mapping(budget, "spec", "selector", "matchLabels"), pod_labels)
    for policy in of_kind(objects, "NetworkPolicy"):
        selector = mapping(policy, "spec", "podSelector", "matchLabels")
        # The pods of submitters exist only while they submit.
        if selector and selector != {USES: "dashboard"}:
            yield from _selector(policy, selector, pod_labels)
        yield from _peers(policy, pod_labels)
        if "ray.io/cluster" in selector:
            yield fault(
                "ray-label", policy, "podSelector by ray.io/cluster",
                fix="use a label of your own: a RayService's clusters have a new name after each "
                "upgrade",
            )  # fmt: skip


def _selector(obj: Json, selector: Json, pod_labels: Sequence[Json]) -> Iterator[LintFinding]:
    if not any(selects(selector, labels) for labels in pod_labels):
        shown = ", ".join(f"{name}={value}" for name, value in selector.items())
        yield fault("ref-selector", obj, f"no pod has {shown or 'an empty selector'}")


def _peers(policy: Json, pod_labels: Sequence[Json]) -> Iterator[LintFinding]:
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for rule in items(policy, "spec", direction):
            for peer in items(rule, side):
                selector = mapping(peer, "podSelector", "matchLabels")
                labels = mapping(peer, "namespaceSelector", "matchLabels")
                namespace = text(labels, "kubernetes.io/metadata.name")
                if selector and not namespace and not _is_optional(selector):
                    yield from _selector(policy, selector, pod_labels)
                if namespace and namespace not in NAMESPACES:
                    yield fault("ref-namespace", policy, f"unknown namespace {namespace!r}")


def _is_optional(selector: Json) -> bool:
    """Say whether the pods may be missing: submitters, and stores outside the cluster."""
    component = selector.get("app.kubernetes.io/component")
    return (
        USES in selector or "strimzi.io/cluster" in selector or component in {"postgres", "redis"}
    )


def of_strimzi(objects: Sequence[Json]) -> Iterator[Json]:
    """Yield the labels of the pods that Strimzi creates."""
    for name in by_name(objects, "Kafka"):
        yield {
            "strimzi.io/cluster": name,
            "strimzi.io/kind": "Kafka",
            "strimzi.io/name": f"{name}-kafka",
        }
        yield {"strimzi.io/cluster": name, "strimzi.io/name": f"{name}-entity-operator"}


def _monitors(objects: Sequence[Json]) -> Iterator[LintFinding]:
    for monitor in by_name(objects, "PodMonitor").values():
        selector = mapping(monitor, "spec", "selector", "matchLabels")
        if any(selects(selector, labels) for labels in of_strimzi(objects)):
            names = {"tcp-prometheus"} if _kafka_has_metrics(objects) else set()
        elif (ports := _ports(selector, objects)) is not None:
            names = {text(port, "name") for port in ports}
        else:
            yield fault("ref-selector", monitor, "spec.selector matches no pod")
            continue
        for endpoint in items(monitor, "spec", "podMetricsEndpoints"):
            if text(endpoint, "port") not in names:
                yield fault("ref-port", monitor, f"no pod has a port {text(endpoint, 'port')!r}")


def _kafka_has_metrics(objects: Sequence[Json]) -> bool:
    return any(dig(kafka, "spec", "kafka", "metricsConfig") for kafka in of_kind(objects, "Kafka"))


def _clusters(objects: Sequence[Json]) -> Iterator[LintFinding]:
    kafkas = by_name(objects, "Kafka")
    for obj in objects:
        cluster = text(obj, "metadata", "labels", "strimzi.io/cluster")
        if kind_of(obj) in {"KafkaNodePool", "KafkaTopic", "KafkaUser"} and cluster not in kafkas:
            yield fault(
                "kafka-label", obj, f"label strimzi.io/cluster: {cluster!r}",
                fix=f"use the name of a Kafka object: {', '.join(kafkas) or 'there is none'}",
            )  # fmt: skip

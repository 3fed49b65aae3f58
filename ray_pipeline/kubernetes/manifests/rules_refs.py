"""What one object says of another: each name must be somebody's."""

from collections.abc import Iterable, Iterator, Sequence

from ray_pipeline.kubernetes.deploy.objects import Json, dig, items, mapping, number, text
from ray_pipeline.kubernetes.manifests.finding import Finding, fault
from ray_pipeline.kubernetes.manifests.pod_templates import Template, templates

# Made by hand, as docs/kubernetes.md says, with these keys.
SECRETS = {
    "pipeline-secrets": {"postgres-dsn", "redis-url", "api-keys", "api-token"},
    "postgres-password": {"password"},
    "redis-password": {"password"},
    "ray-auth": {"auth_token"},
    "pipeline-tls": {"tls.crt", "tls.key"},
    "git-sync": {"repo", "ref"},
}
# Services that an operator makes, and their ports.
HEAD_PORTS = {6379, 8000, 8080, 8265, 10001}
ELSEWHERE = {"kube-system", "kuberay-system", "strimzi-system", "monitoring"}


def of_references(objects: Sequence[Json]) -> Iterator[Finding]:
    """Yield names that nobody has."""
    for template in templates(objects):
        yield from _volumes(template, objects)
        yield from _variables(template, objects)
        yield from _account(template, objects)
    yield from _services(objects)
    yield from _ingresses(objects)
    yield from _selectors(objects)
    yield from _monitors(objects)
    yield from _clusters(objects)


def _named(objects: Iterable[Json], kind: str) -> dict[str, Json]:
    return {text(one, "metadata", "name"): one for one in objects if text(one, "kind") == kind}


def secrets(objects: Sequence[Json]) -> dict[str, set[str]]:
    """Return the keys of every Secret that there is, or that somebody makes."""
    known = dict(SECRETS)
    for name, one in _named(objects, "Secret").items():
        known[name] = set(mapping(one, "data")) | set(mapping(one, "stringData"))
    for name in _named(objects, "KafkaUser"):
        known[name] = {"password", "sasl.jaas.config"}
    for name in _named(objects, "Kafka"):
        known[f"{name}-cluster-ca-cert"] = {"ca.crt", "ca.p12", "ca.password"}
    return known


def _secret(owner: Json, name: str, keys: Iterable[str], known: dict[str, set[str]]) -> Iterator[Finding]:  # fmt: skip  # noqa: E501
    if name not in known:
        yield fault(
            "ref-secret", owner, f"Secret {name!r} is nobody's",
            fix=f"one of {', '.join(sorted(known))}",
        )  # fmt: skip
        return
    for key in sorted(set(keys) - known[name]):
        yield fault(
            "ref-secret", owner, f"Secret {name!r} has no key {key!r}",
            fix=f"one of {', '.join(sorted(known[name]))}",
        )  # fmt: skip


def _volumes(template: Template, objects: Sequence[Json]) -> Iterator[Finding]:
    owner = template.owner
    volumes = items(template.spec, "volumes")
    claims = items(owner, "spec", "volumeClaimTemplates")
    names = {text(one, "name") for one in volumes}
    names |= {text(one, "metadata", "name") for one in claims}
    for volume in volumes:
        if secret := text(volume, "secret", "secretName"):
            keys = [text(one, "key") for one in items(volume, "secret", "items")]
            yield from _secret(owner, secret, keys, secrets(objects))
        config = text(volume, "configMap", "name")
        if config and config not in _named(objects, "ConfigMap"):
            yield fault("ref-configmap", owner, f"ConfigMap {config!r} is not among the manifests")
        claim = text(volume, "persistentVolumeClaim", "claimName")
        if claim and claim not in _named(objects, "PersistentVolumeClaim") and _whole(objects):
            yield fault("ref-claim", owner, f"claim {claim!r} is not among the manifests")
    for container in template.containers:
        for mount in items(container, "volumeMounts"):
            if text(mount, "name") not in names:
                yield fault("ref-volume", owner, f"no volume {text(mount, 'name')!r}")


def _variables(template: Template, objects: Sequence[Json]) -> Iterator[Finding]:
    owner, maps = template.owner, _named(objects, "ConfigMap")
    for container in template.containers:
        for source in items(container, "envFrom"):
            name = text(source, "configMapRef", "name")
            if name and name not in maps:
                yield fault("ref-configmap", owner, f"no ConfigMap {name!r} here")
            if text(source, "secretRef", "name"):
                yield fault(
                    "ref-secret", owner, "envFrom a whole Secret",
                    fix="name its keys one by one, so that a missing one is told",
                )  # fmt: skip
        for variable in items(container, "env"):
            if ref := mapping(variable, "valueFrom", "secretKeyRef"):
                yield from _secret(owner, text(ref, "name"), [text(ref, "key")], secrets(objects))
    for place in (("rayClusterConfig",), ()):
        ft = mapping(owner, "spec", *place, "gcsFaultToleranceOptions")
        if ref := mapping(ft, "redisPassword", "valueFrom", "secretKeyRef"):
            yield from _secret(owner, text(ref, "name"), [text(ref, "key")], secrets(objects))
        if name := text(owner, "spec", *place, "authOptions", "secretName"):
            yield from _secret(owner, name, ["auth_token"], secrets(objects))


def _account(template: Template, objects: Sequence[Json]) -> Iterator[Finding]:
    account = text(template.spec, "serviceAccountName")
    if account and account not in _named(objects, "ServiceAccount") and _whole(objects):
        yield fault("ref-account", template.owner, f"ServiceAccount {account!r} is nobody's")
    level = text(template.spec, "priorityClassName")
    if level and level not in _named(objects, "PriorityClass") and _whole(objects):
        yield fault("ref-priority", template.owner, f"PriorityClass {level!r} is nobody's")


def _whole(objects: Sequence[Json]) -> bool:
    """Say whether these are a whole overlay; examples of jobs stand on one."""
    return bool(_named(objects, "Namespace"))


def fits(selector: Json, labels: Json) -> bool:
    """Say whether the selector fits; an empty one fits nothing here."""
    return bool(selector) and all(labels.get(name) == value for name, value in selector.items())


def _services(objects: Sequence[Json]) -> Iterator[Finding]:
    for service in _named(objects, "Service").values():
        selector = mapping(service, "spec", "selector")
        chosen = [one for one in templates(objects) if fits(selector, one.labels)]
        if not chosen:
            yield fault("ref-selector", service, "spec.selector fits no pod")
            continue
        ports = [port for one in chosen for c in one.containers for port in items(c, "ports")]
        names = {text(one, "name") for one in ports}
        numbers = {number(one, "containerPort") for one in ports}
        for port in items(service, "spec", "ports"):
            target = dig(port, "targetPort") or dig(port, "port")
            if target not in names and target not in numbers:
                yield fault("ref-port", service, f"targetPort {target!r} is no port of its pods")


def _ingresses(objects: Sequence[Json]) -> Iterator[Finding]:
    heads = {
        f"{text(one, 'metadata', 'name')}-head-svc"
        for one in objects
        if text(one, "kind") in {"RayCluster", "RayService"}
    }
    services = _named(objects, "Service")
    for ingress in _named(objects, "Ingress").values():
        for rule in items(ingress, "spec", "rules"):
            for path in items(rule, "http", "paths"):
                name = text(path, "backend", "service", "name")
                port = number(path, "backend", "service", "port", "number")
                known = heads | services.keys()
                if name not in known:
                    yield fault("ref-service", ingress, f"Service {name!r} is nobody's")
                elif name in heads and port not in HEAD_PORTS:
                    yield fault("ref-port", ingress, f"{name} has no port {port}")


def _selectors(objects: Sequence[Json]) -> Iterator[Finding]:
    """Policies and budgets must fit a pod, or they protect nothing."""
    made = [one.labels for one in templates(objects)] + list(of_strimzi(objects))
    for obj in objects:
        kind = text(obj, "kind")
        if kind == "PodDisruptionBudget":
            yield from _selector(obj, mapping(obj, "spec", "selector", "matchLabels"), made)
        if kind == "NetworkPolicy":
            selector = mapping(obj, "spec", "podSelector", "matchLabels")
            # Submitters come and go; whoever has the label is let through.
            if selector and selector != {"ray-pipeline/uses": "dashboard"}:
                yield from _selector(obj, selector, made)
            yield from _peers(obj, made)
            yield from _not_by_cluster(obj, selector)


def _selector(obj: Json, selector: Json, made: Sequence[Json]) -> Iterator[Finding]:
    if not any(fits(selector, labels) for labels in made):
        shown = ", ".join(f"{name}={value}" for name, value in selector.items())
        yield fault("ref-selector", obj, f"no pod has {shown or 'an empty selector'}")


def _peers(policy: Json, made: Sequence[Json]) -> Iterator[Finding]:
    for way, side in (("ingress", "from"), ("egress", "to")):
        for rule in items(policy, "spec", way):
            for peer in items(rule, side):
                selector = mapping(peer, "podSelector", "matchLabels")
                space = text(
                    peer, "namespaceSelector", "matchLabels", "kubernetes.io/metadata.name"
                )
                if selector and not space and not any(fits(selector, one) for one in made):
                    if _optional(selector):
                        continue
                    yield from _selector(policy, selector, made)
                if space and space not in ELSEWHERE:
                    yield fault("ref-namespace", policy, f"namespace {space!r} is not known")


def _optional(selector: Json) -> bool:
    """A policy may name who comes and goes: submitters, and stores that somebody has elsewhere."""
    return "ray-pipeline/uses" in selector or selector.get("app.kubernetes.io/component") in {
        "postgres", "redis",
    } or "strimzi.io/cluster" in selector  # fmt: skip


def _not_by_cluster(policy: Json, selector: Json) -> Iterator[Finding]:
    if "ray.io/cluster" in selector:
        yield fault(
            "ray-label", policy, "podSelector by ray.io/cluster",
            fix="take a label of your own: with a RayService its value changes at each upgrade",
        )  # fmt: skip


def of_strimzi(objects: Sequence[Json]) -> Iterator[Json]:
    """Yield the labels of the pods that Strimzi makes."""
    for name in _named(objects, "Kafka"):
        yield {
            "strimzi.io/cluster": name,
            "strimzi.io/kind": "Kafka",
            "strimzi.io/name": f"{name}-kafka",
        }  # fmt: skip
        yield {"strimzi.io/cluster": name, "strimzi.io/name": f"{name}-entity-operator"}


def _monitors(objects: Sequence[Json]) -> Iterator[Finding]:
    for monitor in _named(objects, "PodMonitor").values():
        selector = mapping(monitor, "spec", "selector", "matchLabels")
        if any(fits(selector, labels) for labels in of_strimzi(objects)):
            ports = {"tcp-prometheus"} if _measured(objects) else set()
        else:
            chosen = [one for one in templates(objects) if fits(selector, one.labels)]
            if not chosen:
                yield fault("ref-selector", monitor, "spec.selector fits no pod")
                continue
            ports = {
                text(port, "name")
                for one in chosen for c in one.containers for port in items(c, "ports")
            }  # fmt: skip
        for endpoint in items(monitor, "spec", "podMetricsEndpoints"):
            if text(endpoint, "port") not in ports:
                yield fault("ref-port", monitor, f"no pod has a port {text(endpoint, 'port')!r}")


def _measured(objects: Sequence[Json]) -> bool:
    return any(
        dig(one, "spec", "kafka", "metricsConfig") for one in _named(objects, "Kafka").values()
    )


def _clusters(objects: Sequence[Json]) -> Iterator[Finding]:
    kafkas = _named(objects, "Kafka")
    for kind in ("KafkaNodePool", "KafkaTopic", "KafkaUser"):
        for one in _named(objects, kind).values():
            cluster = text(one, "metadata", "labels", "strimzi.io/cluster")
            if cluster not in kafkas:
                yield fault(
                    "kafka-label", one, f"label strimzi.io/cluster: {cluster!r}",
                    fix=f"the name of the Kafka: {', '.join(kafkas) or 'there is none'}",
                )  # fmt: skip

"""Kafka's objects against the pipeline's use of Kafka."""

from collections.abc import Iterator, Sequence

from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    by_name,
    elements,
    items,
    mapping,
    name_of,
    number,
    of_kind,
    text,
)
from ray_pipeline.kubernetes.manifests.lint_finding import LintFinding, fault
from ray_pipeline.kubernetes.manifests.pod_templates import templates

# The operations that the pipeline needs, by the type and the name of the resource.
RIGHTS = {
    ("topic", spec.topic): {"Describe", "DescribeConfigs", "Read", "Write"} for spec in FEEDS
} | {("group", f"ray-pipeline-{spec.name}"): {"Describe", "Read"} for spec in FEEDS}
OBSOLETE_ANNOTATIONS = ("strimzi.io/kraft", "strimzi.io/node-pools")
REPLICATION_SETTINGS = (
    "default.replication.factor",
    "offsets.topic.replication.factor",
    "transaction.state.log.replication.factor",
)
TOPIC_PREFIX = "PIPELINE_KAFKA__TOPIC_PREFIX"
USERNAME = "PIPELINE_KAFKA__SASL_USERNAME"
BOOTSTRAP_SERVERS = "PIPELINE_KAFKA__BOOTSTRAP_SERVERS"
SECURITY_PROTOCOL = "PIPELINE_KAFKA__SECURITY_PROTOCOL"


def of_kafka(objects: Sequence[Json]) -> Iterator[LintFinding]:
    """Yield topics that are missing or too small, and rights that are missing or too wide."""
    kafkas = of_kind(objects, "Kafka")
    for kafka in kafkas:
        for name in OBSOLETE_ANNOTATIONS:
            if name in mapping(kafka, "metadata", "annotations"):
                yield fault("kafka-annotation", kafka, f"{name} no longer has an effect")
        yield from _listener(kafka, objects)
        yield from _replication(kafka, objects)
    if kafkas:
        yield from _topics(kafkas[0], objects)
        yield from _rights(kafkas[0], objects)


def _replication(kafka: Json, objects: Sequence[Json]) -> Iterator[LintFinding]:
    brokers = sum(
        number(pool, "spec", "replicas")
        for pool in of_kind(objects, "KafkaNodePool")
        if "broker" in elements(pool, "spec", "roles")
    )
    config = mapping(kafka, "spec", "kafka", "config")
    for name in REPLICATION_SETTINGS:
        if number(config, name, default=1) > brokers:
            yield fault("kafka-replicas", kafka, f"{name} is more than its {brokers} brokers")
    for topic in of_kind(objects, "KafkaTopic"):
        replicas = number(topic, "spec", "replicas")
        min_in_sync = number(topic, "spec", "config", "min.insync.replicas", default=1)
        # More replicas in sync than replicas: every write with acks=all would fail.
        if replicas > brokers or min_in_sync > replicas:
            message = f"{replicas} replicas, {min_in_sync} in sync, {brokers} brokers"
            yield fault("kafka-replicas", topic, message)


def _topics(kafka: Json, objects: Sequence[Json]) -> Iterator[LintFinding]:
    topics = by_name(objects, "KafkaTopic")
    prefix = _setting(objects, TOPIC_PREFIX)
    for spec in FEEDS:
        name = prefix + spec.topic
        if name not in topics:
            yield fault("kafka-topic", kafka, f"no KafkaTopic {name}", fix="add it")
            continue
        # The settings decide: producers write to the partitions that they name.
        variable = f"PIPELINE_FEEDS__{spec.name.upper()}__PARTITIONS"
        configured = _setting(objects, variable, default=str(spec.partitions))
        partitions = number(topics[name], "spec", "partitions")
        if str(partitions) != configured:
            message = f"{partitions} partitions, not {configured}"
            yield fault("kafka-topic", topics[name], message, fix=f"change it or {variable}")
        config = mapping(topics[name], "spec", "config")
        if text(config, "message.timestamp.type") != "LogAppendTime":
            message = "the clocks of the producers date its records"
            fix = "set message.timestamp.type: LogAppendTime"
            yield fault("kafka-topic", topics[name], message, fix=fix)
    for name in sorted(topics.keys() - {prefix + spec.topic for spec in FEEDS}):
        yield fault("kafka-topic", topics[name], "no feed uses it")


def _rights(kafka: Json, objects: Sequence[Json]) -> Iterator[LintFinding]:
    name = _setting(objects, USERNAME)
    user = by_name(objects, "KafkaUser").get(name)
    if user is None:
        yield fault("kafka-user", kafka, f"no KafkaUser {name!r}, which the settings name")
        return
    acls = items(user, "spec", "authorization", "acls")
    prefix = _setting(objects, TOPIC_PREFIX)
    for (kind, suffix), operations in RIGHTS.items():
        resource = prefix + suffix if kind == "topic" else suffix
        if missing := operations - _granted(acls, kind, resource):
            message = f"{kind} {resource}: {', '.join(sorted(missing))} missing"
            yield fault("kafka-acl", user, message)
    for acl in acls:
        if text(acl, "resource", "name") == "*" or "All" in _operations(acl):
            yield fault("kafka-acl", user, "a right to everything", fix="name the resources used")


def _setting(objects: Sequence[Json], name: str, *, default: str = "") -> str:
    """Return the value of a setting of the pods; ConfigMaps first."""
    return next(filter(None, _values(objects, name)), default)


def _values(objects: Sequence[Json], name: str) -> Iterator[str]:
    for config_map in of_kind(objects, "ConfigMap"):
        yield text(config_map, "data", name)
    for template in templates(objects):
        for container in template.containers:
            for variable in items(container, "env"):
                if text(variable, "name") == name:
                    yield text(variable, "value")


def _granted(acls: Sequence[Json], kind: str, name: str) -> set[str]:
    """Return the operations that the ACLs allow on a resource."""
    granted: set[str] = set()
    for acl in acls:
        resource = mapping(acl, "resource")
        pattern = text(resource, "name")
        is_prefix = text(resource, "patternType") == "prefix"
        matches = name.startswith(pattern) if is_prefix else name == pattern
        if text(resource, "type") == kind and matches:
            granted |= _operations(acl)
    return granted


def _operations(acl: Json) -> set[str]:
    return set(map(str, elements(acl, "operations")))


def _listener(kafka: Json, objects: Sequence[Json]) -> Iterator[LintFinding]:
    """Yield settings with an address or protocol that no listener of Kafka has."""
    for config_map in of_kind(objects, "ConfigMap"):
        settings = mapping(config_map, "data")
        address = text(settings, BOOTSTRAP_SERVERS)
        host, _, port = address.partition(":")
        if host.split(".")[0] != f"{name_of(kafka)}-kafka-bootstrap":
            continue
        listeners = items(kafka, "spec", "kafka", "listeners")
        listener = next((item for item in listeners if str(number(item, "port")) == port), None)
        if listener is None:
            yield fault("kafka-listener", config_map, f"{address}: no listener has that port")
            continue
        is_sasl = text(listener, "authentication", "type") == "scram-sha-512"
        is_tls = listener.get("tls") is True
        expected = ("SASL_" if is_sasl else "") + ("SSL" if is_tls else "PLAINTEXT")
        if text(settings, SECURITY_PROTOCOL) != expected:
            yield fault("kafka-listener", config_map, f"{SECURITY_PROTOCOL}: not {expected}")

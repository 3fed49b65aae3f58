"""Kafka's objects against what the pipeline does with Kafka."""

from collections.abc import Iterator, Sequence

from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.kubernetes.deploy.objects import Json, items, mapping, number, text
from ray_pipeline.kubernetes.manifests.finding import Finding, fault
from ray_pipeline.kubernetes.manifests.pod_templates import templates

TOPIC_RIGHTS = {"Describe", "DescribeConfigs", "Read", "Write"}
GROUP_RIGHTS = {"Describe", "Read"}
GROUPS = [f"ray-pipeline-{spec.name}" for spec in FEEDS]
GONE = ("strimzi.io/kraft", "strimzi.io/node-pools")


def of_kafka(objects: Sequence[Json]) -> Iterator[Finding]:
    """Yield topics that are missing or too small, and rights that are missing or too many."""
    kafkas = [one for one in objects if text(one, "kind") == "Kafka"]
    if not kafkas:
        return
    for kafka in kafkas:
        for name in GONE:
            if name in mapping(kafka, "metadata", "annotations"):
                yield fault("kafka-annotation", kafka, f"{name} has no meaning any more")
        yield from _listener(kafka, objects)
        yield from _replication(kafka, objects)
    yield from _topics(kafkas[0], objects)
    yield from _rights(kafkas[0], objects)


def _replication(kafka: Json, objects: Sequence[Json]) -> Iterator[Finding]:
    brokers = sum(
        number(one, "spec", "replicas")
        for one in objects
        if text(one, "kind") == "KafkaNodePool" and "broker" in _roles(one)
    )
    config = mapping(kafka, "spec", "kafka", "config")
    wanted = {
        "default.replication.factor", "offsets.topic.replication.factor",
        "transaction.state.log.replication.factor",
    }  # fmt: skip
    for name in sorted(wanted):
        if number(config, name, default=1) > brokers:
            yield fault("kafka-replicas", kafka, f"{name} is more than its {brokers} brokers")
    for topic in objects:
        if text(topic, "kind") == "KafkaTopic":
            replicas = number(topic, "spec", "replicas")
            least = number(topic, "spec", "config", "min.insync.replicas", default=1)
            if replicas > brokers or least > replicas:
                yield fault(
                    "kafka-replicas", topic,
                    f"{replicas} replicas, {least} in sync, {brokers} brokers",
                )  # fmt: skip


def _roles(pool: Json) -> list[object]:
    roles = mapping(pool, "spec").get("roles")
    return roles if isinstance(roles, list) else []


def _topics(kafka: Json, objects: Sequence[Json]) -> Iterator[Finding]:
    topics = {text(one, "metadata", "name"): one for one in objects if text(one, "kind") == "KafkaTopic"}  # fmt: skip  # noqa: E501
    for spec in FEEDS:
        if spec.topic not in topics:
            yield fault("kafka-topic", kafka, f"no KafkaTopic {spec.topic}", fix="add it")
            continue
        partitions = number(topics[spec.topic], "spec", "partitions")
        wanted = spec.partitions
        if partitions != wanted:
            yield fault(
                "kafka-topic",
                topics[spec.topic],
                f"{partitions} partitions, not {wanted}",
            )
    for name in sorted(topics.keys() - {spec.topic for spec in FEEDS}):
        yield fault("kafka-topic", topics[name], "no feed uses it")


def _rights(kafka: Json, objects: Sequence[Json]) -> Iterator[Finding]:
    name = next(_users(objects), "")
    user = next(
        (
            one
            for one in objects
            if text(one, "kind") == "KafkaUser" and text(one, "metadata", "name") == name
        ),
        None,
    )
    if user is None:
        yield fault("kafka-user", kafka, f"no KafkaUser {name!r}, which the settings name")
        return
    acls = items(user, "spec", "authorization", "acls")
    for spec in FEEDS:
        missing = TOPIC_RIGHTS - _granted(acls, "topic", spec.topic)
        if missing:
            yield fault("kafka-acl", user, f"topic {spec.topic}: no {', '.join(sorted(missing))}")
    for group in GROUPS:
        if missing := GROUP_RIGHTS - _granted(acls, "group", group):
            yield fault("kafka-acl", user, f"group {group}: {', '.join(sorted(missing))} missing")
    for acl in acls:
        if text(acl, "resource", "name") == "*" or "All" in _operations(acl):
            yield fault("kafka-acl", user, "a right to everything", fix="name what is used")


def _users(objects: Sequence[Json]) -> Iterator[str]:
    """Yield the users that the settings of pods name."""
    for one in objects:
        if text(one, "kind") == "ConfigMap":
            name = text(one, "data", "PIPELINE_KAFKA__SASL_USERNAME")
            if name:
                yield name
    for template in templates(objects):
        for container in template.containers:
            for variable in items(container, "env"):
                if text(variable, "name") == "PIPELINE_KAFKA__SASL_USERNAME":
                    yield text(variable, "value")


def _granted(acls: Sequence[Json], kind: str, name: str) -> set[str]:
    granted: set[str] = set()
    for acl in acls:
        resource = mapping(acl, "resource")
        pattern = text(resource, "name")
        prefix = text(resource, "patternType") == "prefix"
        fits = name.startswith(pattern) if prefix else name == pattern
        if text(resource, "type") == kind and fits:
            granted |= _operations(acl)
    return granted


def _operations(acl: Json) -> set[str]:
    operations = acl.get("operations")
    return {str(one) for one in operations} if isinstance(operations, list) else set()


def _listener(kafka: Json, objects: Sequence[Json]) -> Iterator[Finding]:
    """The address that the settings have must be one of Kafka's listeners, spoken to as it asks."""
    for one in objects:
        settings = mapping(one, "data") if text(one, "kind") == "ConfigMap" else {}
        address = text(settings, "PIPELINE_KAFKA__BOOTSTRAP_SERVERS")
        host, _, port = address.partition(":")
        if host.split(".")[0] != f"{text(kafka, 'metadata', 'name')}-kafka-bootstrap":
            continue
        chosen = [
            listener
            for listener in items(kafka, "spec", "kafka", "listeners")
            if str(number(listener, "port")) == port
        ]
        if not chosen:
            yield fault("kafka-listener", one, f"{address}: no listener has that port")
            continue
        tls = chosen[0].get("tls") is True
        sasl = text(chosen[0], "authentication", "type") == "scram-sha-512"
        wanted = ("SASL_" if sasl else "") + ("SSL" if tls else "PLAINTEXT")
        if text(settings, "PIPELINE_KAFKA__SECURITY_PROTOCOL") != wanted:
            yield fault("kafka-listener", one, f"PIPELINE_KAFKA__SECURITY_PROTOCOL: not {wanted}")

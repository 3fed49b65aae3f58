"""The manifests of Kafka's topics and of their user, generated from the feeds by `make docs`."""

from collections.abc import Iterable

from ray_pipeline.feeds.feed import Feed

HEAD = "# Generated from ray_pipeline/feeds by `make docs`; do not edit.\n"

TOPIC = """\
apiVersion: kafka.strimzi.io/v1
kind: KafkaTopic
metadata:
  name: {topic}
  annotations: {{ray-pipeline/component: kafka}}
  labels:
    strimzi.io/cluster: kafka
spec:
  partitions: {partitions}
  replicas: 3
  config:
    # A week: an outage of Postgres may last that long without a loss.
    retention.ms: 604800000
    min.insync.replicas: 2
    # The broker's clock: a wrong clock of a producer has no effect on its records.
    message.timestamp.type: LogAppendTime
"""

USER = """\
# One user with the rights it needs: create the topics, write, read, and commit offsets for lag
# tools. An idempotent producer needs no right of its own since Kafka 3.0.
apiVersion: kafka.strimzi.io/v1
kind: KafkaUser
metadata:
  name: ray-pipeline
  annotations: {ray-pipeline/component: kafka}
  labels:
    strimzi.io/cluster: kafka
spec:
  authentication: {type: scram-sha-512}
  authorization:
    type: simple
    acls:
"""

TOPIC_RIGHT = """\
      - resource: {{type: topic, name: {topic}, patternType: literal}}
        operations: [Describe, DescribeConfigs, Read, Write, Create]
"""

GROUP_RIGHT = """\
      - resource: {type: group, name: ray-pipeline-, patternType: prefix}
        operations: [Describe, Read]
"""


def topics_yaml(feeds: Iterable[Feed]) -> str:
    """Return the topic of each feed."""
    topics = (TOPIC.format(topic=feed.topic, partitions=feed.partitions) for feed in feeds)
    return HEAD + "---\n".join(topics)


def users_yaml(feeds: Iterable[Feed]) -> str:
    """Return the user with its rights to each feed's topic."""
    return (
        HEAD + USER + "".join(TOPIC_RIGHT.format(topic=feed.topic) for feed in feeds) + GROUP_RIGHT
    )

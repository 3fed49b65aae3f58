"""A partition consumer with its storage: Kafka, Postgres and Redis."""

import gc
import os
import socket
import time
import uuid
from collections.abc import Sequence
from typing import Any

from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.settings import Settings
from ray_pipeline.storage.kafka.client_options import client_options
from ray_pipeline.storage.kafka.reader import KafkaLog, LagReporter
from ray_pipeline.storage.kafka.topics import topic_name
from ray_pipeline.storage.postgres.consumer_records import PostgresConsumerRecords
from ray_pipeline.storage.postgres.leases import Leases
from ray_pipeline.storage.postgres.stream_store import StreamStore
from ray_pipeline.storage.redis.latest_cache import CacheLimits, LatestCache
from ray_pipeline.storage.redis.rebuild import rebuilder
from ray_pipeline.stream.cache_memory import MEGABYTE
from ray_pipeline.stream.consumer_assignment import ConsumerAssignment
from ray_pipeline.stream.consumer_ports import ConsumerPorts
from ray_pipeline.stream.partition_consumer import PartitionConsumer

# By default, the collector examines its first generation every 700 objects. Most objects of a
# consumer are outside the collector, and the others make no cycles.
GC_THRESHOLDS = (50_000, 20, 50)


def build_consumer(
    settings: Settings, feed: str, *, partitions: Sequence[int]
) -> PartitionConsumer[Any]:
    """Return the consumer of some partitions of a feed."""
    spec = feed_named(feed)
    assignment = _assignment(settings, spec, partitions)
    return PartitionConsumer(assignment, _ports(settings, spec, assignment))


def tune_garbage_collector() -> None:
    """Let this process, which does nothing but consume, collect garbage rarely."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _assignment(settings: Settings, spec: Feed, partitions: Sequence[int]) -> ConsumerAssignment:
    streams = settings.streams
    return ConsumerAssignment(
        topic=topic_name(settings, spec),
        partitions=list(partitions),
        configured=settings.feeds[spec.name].partitions,
        holder=f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:6]}",
        generation=settings.ray.generation,
        lease_ttl_s=streams.lease_ttl_s,
        batch_rows=streams.batch_rows,
        future_tolerance_ms=int(streams.future_tolerance_s * 1000),
        drain_s=streams.drain_s,
    )


def _ports(settings: Settings, spec: Feed, assignment: ConsumerAssignment) -> ConsumerPorts[Any]:
    dsn, topic, streams = settings.postgres_dsn(), assignment.topic, settings.streams
    kafka = client_options(settings.kafka, settings.bootstrap_servers())
    limits = CacheLimits(
        ttl_s=settings.feeds[spec.name].ttl_s,
        publishes_per_s=streams.publishes_per_s,
        budget_bytes=settings.redis.budget_mb * MEGABYTE,
        realtime_keys=settings.redis.realtime_keys,
    )
    return ConsumerPorts(
        reader=lambda: KafkaLog(kafka, topic),
        leases=lambda: Leases(dsn),
        store=lambda: StreamStore(dsn, spec, spec.layout, topic=topic),
        cache=lambda: LatestCache(
            settings.redis_url(),
            spec,
            limits=limits,
            writer=assignment.holder,
            partitions=assignment.partitions,
        ),
        reporter=lambda: LagReporter(kafka, topic, group=f"ray-pipeline-{spec.name}"),
        rebuild=rebuilder(dsn, spec, spec.layout, clock=time.time),
        records=PostgresConsumerRecords(
            dsn, spec, topic, partitions=assignment.configured, holder=assignment.holder
        ),
        layout=spec.layout,
    )

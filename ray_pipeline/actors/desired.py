"""The desired actors: a pure function of the settings."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ray_pipeline.settings import Settings
from ray_pipeline.stream.feed_shards import shards_of


@dataclass(frozen=True, slots=True)
class Desired:
    """
    An actor that should run.

    Attributes:
        kind: The class.
        name: Its name in the cluster. It contains the generation, so that two releases in one
            cluster do not share an actor.
        arguments: Arguments of its constructor, after the settings.
        num_cpus: Logical CPUs. An actor waits for sockets most of the time.
    """

    kind: Literal["producer", "consumer", "archiver", "limiter", "scheduler"]
    name: str
    arguments: tuple[object, ...]
    num_cpus: float = 0.1


def desired(settings: Settings, *, submitter: object = None) -> Iterator[Desired]:
    """
    Yield every desired actor. Producers come first: what a venue sends meanwhile is lost, whereas
    records wait in Kafka for their consumer.

    Args:
        settings: The settings.
        submitter: Starts the runs of the scheduler. None: nothing is scheduled.
    """
    generation = settings.ray.generation
    for feed in settings.enabled_feeds():
        for shard in shards_of(settings, feed):
            suffix = "" if feed.sharding is None else f"-{shard:02d}"
            name = f"producer-{feed.name}{suffix}-g{generation}"
            yield Desired("producer", name, (feed.name, shard))
    for feed in settings.enabled_feeds():
        partitions = settings.feeds[feed.name].partitions
        consumers = min(settings.streams.consumers_per_topic, partitions)
        for number in range(consumers):
            assigned = list(range(number, partitions, consumers))
            name = f"consumer-{feed.name}-{number}-g{generation}"
            yield Desired("consumer", name, (feed.name, assigned))
    if settings.archive.enabled:
        yield Desired("archiver", f"archiver-g{generation}", ())
    if settings.jobs.enabled and submitter is not None:
        yield Desired("limiter", f"limiter-g{generation}", ())
        yield Desired("scheduler", f"scheduler-g{generation}", (submitter,))

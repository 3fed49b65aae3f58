"""Which actors should run: a pure function of the settings."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ray_pipeline.actors.producer import sp500_shards
from ray_pipeline.catalog import FEEDS
from ray_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Desired:
    """
    An actor that should run.

    Attributes:
        kind: Which class.
        name: Its name in the cluster; the generation is part of it, so that two releases of one
            cluster do not share an actor.
        arguments: For its constructor, after the settings.
        num_cpus: Logical CPUs; they wait for sockets most of the time.
    """

    kind: Literal["producer", "consumer", "archiver", "limiter", "scheduler"]
    name: str
    arguments: tuple[object, ...]
    num_cpus: float = 0.1


def desired(settings: Settings, *, submitter: object = None) -> Iterator[Desired]:
    """
    Yield every actor that should run: consumers first, so that nothing waits in Kafka for long.

    Args:
        settings: The settings.
        submitter: What the scheduler starts runs with; None: there are no scheduled runs.
    """
    generation = settings.ray.generation
    for spec in FEEDS:
        partitions = int(getattr(settings.kafka, spec.partitions_setting))
        consumers = min(settings.streams.consumers_per_topic, partitions)
        for number in range(consumers):
            mine = list(range(number, partitions, consumers))
            yield Desired(
                "consumer", f"consumer-{spec.name}-{number}-g{generation}", (spec.name, mine)
            )
    for shard in range(1, sp500_shards(settings) + 1):
        yield Desired("producer", f"producer-sp500-{shard:02d}-g{generation}", ("sp500", shard))
    for feed in ("bithumb", "top_gainers"):
        yield Desired("producer", f"producer-{feed}-g{generation}", (feed, 0))
    if settings.archive.enabled:
        yield Desired("archiver", f"archiver-g{generation}", ())
    if settings.jobs.enabled and submitter is not None:
        yield Desired("limiter", f"limiter-g{generation}", ())
        yield Desired("scheduler", f"scheduler-g{generation}", (submitter,))

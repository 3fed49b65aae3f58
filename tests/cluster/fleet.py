"""Start or stop the streaming actors of a cluster: `python -m tests.cluster.fleet start|stop`."""

import asyncio
import sys

from ray_pipeline.actors import ray_runtime
from ray_pipeline.actors.desired import desired
from ray_pipeline.actors.supervisor import Supervisor
from ray_pipeline.settings import load
from ray_pipeline.storage.kafka.topics import ensure_topics
from ray_pipeline.storage.migrations import migrate

DRAIN_S = 10.0


async def main(verb: str) -> None:
    """Start the missing actors; with `stop`, shut down the producers."""
    settings = load()
    await migrate(settings.postgres_dsn())
    await ensure_topics(settings)
    connection = ray_runtime.start_ray(settings)
    supervisor = Supervisor(settings, list(desired(settings)))
    await supervisor.reconcile()
    if verb == "stop":
        assert await supervisor.stop("producer", drain_s=DRAIN_S) == []
    connection.stop()


asyncio.run(main(sys.argv[1]))

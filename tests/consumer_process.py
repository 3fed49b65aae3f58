"""Run one consumer until killed: python -m tests.consumer_process FEED '[0, 1, 2]'."""

import asyncio
import json
import sys

from ray_pipeline import settings
from ray_pipeline.services.partition_consumer_wiring import build_consumer

if __name__ == "__main__":
    asyncio.run(
        build_consumer(settings.load(), sys.argv[1], partitions=json.loads(sys.argv[2])).run()
    )

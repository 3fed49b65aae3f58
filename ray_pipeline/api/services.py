"""What the routes use; created once per process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial

from ray_pipeline.api.answers import NotFound
from ray_pipeline.api.auth import TokenCheck
from ray_pipeline.api.hub import Hub
from ray_pipeline.api.limits import Limits, TokenBucket
from ray_pipeline.api.lobby import Lobby
from ray_pipeline.api.throughput import ThroughputHistory
from ray_pipeline.api.ttl_cache import TtlCache
from ray_pipeline.api.value_source import ValueSource
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.observe.status import Status
from ray_pipeline.settings import Settings
from ray_pipeline.storage.postgres import freshness_rows
from ray_pipeline.storage.postgres.freshness_rows import Freshness
from ray_pipeline.storage.postgres.pool import Pool
from ray_pipeline.storage.postgres.quota_rows import QuotaRow, read_quotas
from ray_pipeline.storage.postgres.status_rows import read_feed_rows, read_status
from ray_pipeline.storage.redis.latest_reader import LatestReader

STATUS_TTL_S = 1.0
SLOW_TTL_S = 5.0  # for what changes slowly
POOL_SIZE = 8
BY_NAME: Mapping[str, Feed] = {spec.name: spec for spec in FEEDS}


def feed_named(name: str) -> Feed:
    """
    Return the feed of that name.

    Raises:
        NotFound: If the feed does not exist.
    """
    spec = BY_NAME.get(name)
    if spec is None:
        raise NotFound("no such feed", fix=f"one of {', '.join(BY_NAME)}")
    return spec


@dataclass
class Services:
    """
    What the routes use.

    Attributes:
        lobby: WebSockets that have not sent a token yet.
        refusals: The rate at which sockets without a valid token are closed with a reason.
        clients: The number of open WebSockets with a valid token.
    """

    settings: Settings
    token_check: TokenCheck
    limits: Limits
    stores: ValueSource
    hubs: Mapping[str, Hub]
    throughput: ThroughputHistory
    status: TtlCache[Status]
    quotas: TtlCache[list[QuotaRow]]
    freshness: TtlCache[list[Freshness]]
    lobby: Lobby
    refusals: TokenBucket
    clients: int = 0


def make(settings: Settings, *, token: str, limits: Limits) -> Services:
    """Create the services. They connect on demand, so the API starts without its stores."""
    pool = Pool(settings.postgres_dsn(), size=POOL_SIZE, name="ray-pipeline api")
    stores = ValueSource(LatestReader(settings.redis_url()), pool)
    counts = settings.key_counts()

    # Every open page polls these: the caches bound the load on Postgres.
    status = TtlCache[Status](
        partial(pool.read, read_status, settings, stream_keys=settings.stream_key_counts()),
        ttl_s=STATUS_TTL_S,
    )
    quotas = TtlCache[list[QuotaRow]](
        partial(pool.read, read_quotas, settings.key_fingerprints(), speed=settings.jobs.speed),
        ttl_s=SLOW_TTL_S,
    )

    async def freshness() -> list[Freshness]:
        # The feeds come from the cached status, so that `/why` and `/v1/health` agree.
        jobs = await pool.read(freshness_rows.of_jobs, keys=counts, scheduled=settings.jobs.enabled)
        return [*freshness_rows.of_feeds(await status.get()), *jobs]

    return Services(
        settings=settings,
        token_check=TokenCheck(token),
        limits=limits,
        stores=stores,
        hubs={
            spec.name: Hub(
                spec.name, partial(stores.redis.many, spec), interval_s=limits.interval_s
            )
            for spec in FEEDS
        },
        throughput=ThroughputHistory(partial(pool.read, read_feed_rows)),
        status=status,
        quotas=quotas,
        freshness=TtlCache(freshness, ttl_s=SLOW_TTL_S),
        lobby=Lobby(limits.unauthenticated),
        refusals=TokenBucket(per_s=limits.refusals_per_s, burst=limits.refusals_burst),
    )


@contextlib.asynccontextmanager
async def background_tasks(services: Services) -> AsyncIterator[None]:
    """Run the hubs and the throughput history during a block, then close all connections."""
    tasks = [asyncio.create_task(hub.run()) for hub in services.hubs.values()]
    tasks.append(asyncio.create_task(services.throughput.run()))
    try:
        yield
    finally:
        # The tasks first: they use the connections.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await services.stores.close()

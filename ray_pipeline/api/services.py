"""Everything the routes need, made once a process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from ray_pipeline.api.answers import NotFound
from ray_pipeline.api.auth import Keeper
from ray_pipeline.api.hub import Hub
from ray_pipeline.api.limits import Allowance, Limits
from ray_pipeline.api.lobby import Lobby
from ray_pipeline.api.throughput import Samples
from ray_pipeline.api.ttl_cache import Memo
from ray_pipeline.api.value_source import Stores
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.observe.status import FeedRow, Status
from ray_pipeline.settings import Settings
from ray_pipeline.storage.postgres import freshness
from ray_pipeline.storage.postgres.freshness import Freshness
from ray_pipeline.storage.postgres.pool import Pool
from ray_pipeline.storage.postgres.quota_rows import QuotaRow, read_quotas
from ray_pipeline.storage.postgres.status_rows import read_feed_rows, status_on
from ray_pipeline.storage.redis.latest_reader import LatestReader

SHORT_S, LONG_S = 1.0, 5.0  # how old an answer about the pipeline itself may be
POOL_SIZE = 8
BY_NAME: Mapping[str, Feed] = {spec.name: spec for spec in FEEDS}


def feed_called(name: str) -> Feed:
    """
    Return the feed of that name.

    Raises:
        NotFound: If there is none.
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
        lobby: WebSockets that have not shown a token yet.
        refusals: How many of those that showed no valid token are told so.
        clients: How many WebSockets have shown one, and are open.
    """

    settings: Settings
    keeper: Keeper
    limits: Limits
    stores: Stores
    hubs: Mapping[str, Hub]
    samples: Samples
    status: Memo[Status]
    quotas: Memo[list[QuotaRow]]
    freshness: Memo[list[Freshness]]
    lobby: Lobby
    refusals: Allowance
    clients: int = 0


def make(settings: Settings, *, token: str, limits: Limits) -> Services:
    """Return the services; nothing is connected yet, so that the API starts without its stores."""
    pool = Pool(settings.postgres_dsn(), size=POOL_SIZE, name="ray-pipeline api")
    stores = Stores(LatestReader(settings.redis_url()), pool)
    keys = settings.key_fingerprints()
    counts = settings.key_counts()
    stream_keys = settings.stream_key_counts()

    async def status() -> Status:
        return await pool.read(lambda open_: status_on(open_, stream_keys=stream_keys))

    async def rows() -> list[FeedRow]:
        return await pool.read(read_feed_rows)

    async def quotas() -> list[QuotaRow]:
        speed = settings.jobs.speed
        return await pool.read(lambda open_: read_quotas(open_, keys, speed=speed))

    known_status = Memo(status, ttl_s=SHORT_S)

    async def fresh() -> list[Freshness]:
        page = await known_status.get()
        feeds = {row.feed: row for row in page.feeds}
        jobs = await pool.read(
            lambda open_: freshness.of_jobs(open_, keys=counts, scheduled=settings.jobs.enabled)
        )
        return [*freshness.of_feeds(feeds, page.shards), *jobs]

    return Services(
        settings=settings,
        keeper=Keeper(token),
        limits=limits,
        stores=stores,
        hubs={spec.name: _hub(spec, stores, limits) for spec in FEEDS},
        samples=Samples(rows),
        status=known_status,
        quotas=Memo(quotas, ttl_s=LONG_S),
        freshness=Memo(fresh, ttl_s=LONG_S),
        lobby=Lobby(limits.unauthenticated),
        refusals=Allowance(per_s=limits.refusals_per_s, burst=limits.refusals_burst),
    )


def _hub(spec: Feed, stores: Stores, limits: Limits) -> Hub:
    return Hub(
        spec.name,
        lambda symbols: stores.redis.many(spec, symbols),
        interval_s=limits.interval_s,
    )


@contextlib.asynccontextmanager
async def at_work(services: Services) -> AsyncIterator[None]:
    """Run what runs beside the routes, and close the connections at the end."""
    tasks = [asyncio.create_task(hub.run()) for hub in services.hubs.values()]
    tasks.append(asyncio.create_task(services.samples.run()))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await services.stores.close()

"""Rows from Postgres and Redis."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from ray_pipeline.api.value_source import ValueSource
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.local.announced import KeysInUse
from ray_pipeline.notebook.exact import exact
from ray_pipeline.notebook.frames import Row
from ray_pipeline.observe.job_list import job_rows
from ray_pipeline.observe.status import FeedRow, with_rates
from ray_pipeline.settings import Settings
from ray_pipeline.storage.postgres import pages
from ray_pipeline.storage.postgres.pages import Page, PageRequest
from ray_pipeline.storage.postgres.pool import Pool
from ray_pipeline.storage.postgres.quota_rows import read_quotas
from ray_pipeline.storage.postgres.runs import last_runs, recent_runs
from ray_pipeline.storage.postgres.status_rows import read_status
from ray_pipeline.storage.redis.latest_reader import LatestReader
from ray_pipeline.stream.bars import INTERVALS

POOL_SIZE = 2


class StoresSource:
    """Reads the stores; see `row_source.RowSource`."""

    def __init__(self, settings: Settings, *, keys: KeysInUse, simulated: tuple[str, ...]) -> None:
        """
        Take the settings that name the stores.

        Args:
            settings: The settings; Postgres and Redis must be named.
            keys: The keys that the pipeline uses.
            simulated: The simulated providers.

        Raises:
            ConfigurationError: If a store is not configured.
        """
        self.simulated = simulated
        self._settings = settings
        self._keys = keys
        self._postgres = Pool(settings.postgres_dsn(), size=POOL_SIZE, name="ray-pipeline notebook")
        self._redis_url = settings.redis_url()
        self._source: ValueSource | None = None
        self._feeds: Sequence[FeedRow] = ()

    @property
    def _stores(self) -> ValueSource:
        # Created in the event loop that uses it, to which a Redis client is bound.
        if self._source is None:
            self._source = ValueSource(LatestReader(self._redis_url), self._postgres)
        return self._source

    async def open(self) -> str:
        """Check that Postgres answers and has the schema."""
        await self._postgres.read(last_runs)
        return "Postgres and Redis"

    async def close(self) -> None:
        """Close the connections."""
        await self._stores.close()

    async def symbols(self, spec: Feed) -> list[str]:
        """Return the symbols that have a value, in order."""
        return (await self._stores.symbols(spec))[0]

    async def latest(self, spec: Feed, symbols: Sequence[str]) -> list[Row]:
        """Return latest values, from Redis or, if it has none, from Postgres."""
        values = (await self._stores.many(spec, symbols)).values
        return [exact(values[symbol]) for symbol in symbols if symbol in values]

    async def history(self, spec: Feed, request: PageRequest) -> Page:
        """Return a page of records."""
        return await self._postgres.read(pages.history, spec, request)

    async def bars(self, spec: Feed, request: PageRequest, *, interval: str) -> Page:
        """Return a page of bars."""
        interval_s = INTERVALS[interval]
        return await self._postgres.read(pages.bars, spec, request, interval_s=interval_s)

    async def gaps(self, feed: str | None, *, after: object | None, limit: int) -> Page:
        """Return a page of gaps, newest first."""
        assert after is None or isinstance(after, int), "the `next` of a page of gaps"
        return await self._postgres.read(pages.gaps, feed_name=feed, before=after, limit=limit)

    async def jobs(self) -> list[Row]:
        """Return every batch dataset, with its newest run as `last`."""
        return list(job_rows(await self._postgres.read(last_runs), now=datetime.now(UTC)))

    async def runs(self, job: str | None, *, limit: int) -> list[Row]:
        """Return the newest runs."""
        return await self._postgres.read(recent_runs, job=job, limit=limit)

    async def quotas(self) -> list[Row]:
        """Return every window of every key."""
        keys = self._keys
        rows = await self._postgres.read(read_quotas, keys.by_provider, speed=keys.speed)
        return [row.as_json() for row in rows]

    async def status(self) -> Mapping[str, Sequence[Row]]:
        """Return the tables of the status page; rates are averages since the last call."""
        page = await self._postgres.read(
            read_status, self._settings, stream_keys=self._keys.streams
        )
        # The first call has no earlier sample, and so no rates.
        feeds = with_rates(self._feeds, page.feeds)
        self._feeds = page.feeds
        # as_json() declares its tables as objects.
        return page.as_json() | {"feeds": [asdict(row) for row in feeds]}  # type: ignore[return-value]

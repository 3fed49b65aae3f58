"""Rows from Postgres and Redis themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from ray_pipeline.api.value_source import Stores
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.records import to_ms
from ray_pipeline.local.announced import KeysInUse
from ray_pipeline.notebook.exact import exact
from ray_pipeline.notebook.frames import Row
from ray_pipeline.notebook.row_source import Page, Reading
from ray_pipeline.observe.job_list import job_rows
from ray_pipeline.observe.status import FeedRow, with_rates
from ray_pipeline.settings import Settings
from ray_pipeline.storage.postgres import pages
from ray_pipeline.storage.postgres.pool import Pool
from ray_pipeline.storage.postgres.quota_rows import read_quotas
from ray_pipeline.storage.postgres.runs import last_runs, recent_runs
from ray_pipeline.storage.postgres.status_rows import status_on
from ray_pipeline.storage.redis.latest_reader import LatestReader
from ray_pipeline.stream.bars import INTERVALS

POOL_SIZE = 2


class StoresSource:
    """Asks the stores; see `source.Source`."""

    def __init__(
        self,
        settings: Settings,
        *,
        keys: KeysInUse,
        simulated: tuple[str, ...],
    ) -> None:
        """
        Take the settings that name the stores.

        Args:
            settings: The settings; Postgres and Redis must be named.
            keys: What the pipeline may call with.
            simulated: What is not real.

        Raises:
            ConfigurationError: If a store is not named.
        """
        self.simulated = simulated
        self._keys = keys
        self._postgres = Pool(settings.postgres_dsn(), size=POOL_SIZE, name="ray-pipeline notebook")
        self._redis_url = settings.redis_url()
        self._made: Stores | None = None
        self._feeds: Sequence[FeedRow] = ()

    @property
    def _stores(self) -> Stores:
        # Made in the loop that uses it: a Redis client belongs to one.
        if self._made is None:
            self._made = Stores(LatestReader(self._redis_url), self._postgres)
        return self._made

    async def open(self) -> str:
        """Check that Postgres answers and has the schema."""
        await self._postgres.read(last_runs)
        return "Postgres and Redis"

    async def close(self) -> None:
        """Close the connections."""
        await self._stores.close()

    async def symbols(self, spec: Feed) -> list[str]:
        """Return the symbols of which there is a value, in order."""
        return (await self._stores.symbols(spec))[0]

    async def latest(self, spec: Feed, symbols: Sequence[str]) -> list[Row]:
        """Return latest values, from Redis or, where it has none, from Postgres."""
        found = await self._stores.many(spec, symbols)
        return [exact(found.values[symbol]) for symbol in symbols if symbol in found.values]

    async def history(self, spec: Feed, reading: Reading) -> Page:
        """Return a page of records."""
        after = reading.after
        key = (
            pages.time_key(to_ms(after), newest_first=reading.newest_first)
            if isinstance(after, datetime)
            else after
        )
        assert key is None or isinstance(key, tuple), "the `next` of a page of history"
        rows = await self._postgres.read(
            lambda connection: pages.history(
                connection,
                spec,
                reading.symbol,
                after=key,
                limit=reading.limit,
                newest_first=reading.newest_first,
            )
        )
        return Page(rows, pages.record_key(spec, rows[-1]) if len(rows) == reading.limit else None)

    async def bars(self, spec: Feed, reading: Reading, *, interval: str) -> Page:
        """Return a page of bars."""
        after = reading.after
        assert after is None or isinstance(after, datetime), "the `next` of a page of bars"
        rows = await self._postgres.read(
            lambda connection: pages.bars(
                connection,
                spec,
                reading.symbol,
                interval_s=INTERVALS[interval],
                after=after,
                limit=reading.limit,
                newest_first=reading.newest_first,
            )
        )
        return Page(rows, rows[-1]["start_at"] if len(rows) == reading.limit else None)

    async def gaps(self, feed: str | None, *, after: object | None, limit: int) -> Page:
        """Return a page of gaps, the newest first."""
        assert after is None or isinstance(after, int), "the `next` of a page of gaps"
        rows = await self._postgres.read(
            lambda connection: pages.gaps(connection, feed_name=feed, before=after, limit=limit)
        )
        return Page(rows, rows[-1]["id"] if len(rows) == limit else None)

    async def jobs(self) -> list[Row]:
        """Return every batch dataset, with its newest run as `last`."""
        return list(job_rows(await self._postgres.read(last_runs), now=datetime.now(UTC)))

    async def runs(self, job: str | None, *, limit: int) -> list[Row]:
        """Return the newest runs."""
        return await self._postgres.read(
            lambda connection: recent_runs(connection, job=job, limit=limit)
        )

    async def quotas(self) -> list[Row]:
        """Return every window of every key."""
        rows = await self._postgres.read(
            lambda connection: read_quotas(
                connection, self._keys.by_provider, speed=self._keys.speed
            )
        )
        return [row.as_json() for row in rows]

    async def status(self) -> Mapping[str, Sequence[Row]]:
        """Return the tables of the status page; rates are since the last time it was asked for."""
        page = await self._postgres.read(
            lambda connection: status_on(connection, stream_keys=self._keys.streams)
        )
        feeds = with_rates(self._feeds, page.feeds)
        self._feeds = page.feeds
        # as_json() says object of its tables.
        return page.as_json() | {"feeds": [asdict(row) for row in feeds]}  # type: ignore[return-value]

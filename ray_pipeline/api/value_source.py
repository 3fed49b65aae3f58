"""Latest values from Redis; from Postgres if Redis has none or cannot be reached."""

from collections.abc import Sequence
from dataclasses import dataclass

from ray_pipeline.errors import CacheUnavailable, DatabaseUnavailable
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.storage.postgres.pages import newest_values, symbols_of
from ray_pipeline.storage.postgres.pool import Pool
from ray_pipeline.storage.redis.latest_reader import LatestReader


@dataclass(frozen=True, slots=True)
class LatestValues:
    """Values by symbol as JSON texts, and the stores that had them: redis, postgres, or both."""

    values: dict[str, str]
    source: str


class ValueSource:
    """Reads latest values from both stores."""

    def __init__(self, redis: LatestReader, postgres: Pool) -> None:
        self.redis = redis
        self.postgres = postgres

    async def close(self) -> None:
        """Close the connections to both."""
        await self.redis.close()
        await self.postgres.close()

    async def value_of(self, spec: Feed, symbol: str) -> tuple[str | None, str]:
        """
        Return a symbol's latest value, None if it has none, and the store that was read.

        Raises:
            DatabaseUnavailable: If Redis has no value and Postgres cannot be read.
        """
        outage: CacheUnavailable | None = None
        try:
            if (value := await self.redis.value_of(spec, symbol)) is not None:
                return value, "redis"
        except CacheUnavailable as error:
            outage = error
        return (await self._from_postgres(spec, [symbol], outage)).get(symbol), "postgres"

    async def many(self, spec: Feed, symbols: Sequence[str]) -> LatestValues:
        """
        Return symbols' latest values; symbols without one are left out.

        Raises:
            DatabaseUnavailable: If Redis lacks a value and Postgres cannot be read.
        """
        try:
            values = await self.redis.many(spec, symbols)
        except CacheUnavailable as error:
            return LatestValues(await self._from_postgres(spec, symbols, error), "postgres")
        # Redis keeps values for a limited time: symbols that are quiet for longer are in
        # Postgres only.
        cached = {s: v for s, v in zip(symbols, values, strict=True) if v is not None}
        missing = [symbol for symbol in symbols if symbol not in cached]
        if not missing:
            return LatestValues(cached, "redis")
        stored = await self._from_postgres(spec, missing, None)
        sources = [name for name, part in (("redis", cached), ("postgres", stored)) if part]
        return LatestValues(cached | stored, ",".join(sources) or "postgres")

    async def symbols(self, spec: Feed) -> tuple[list[str], str]:
        """
        Return the symbols that have a value, in order, and the store that was read.

        Raises:
            DatabaseUnavailable: If neither store can be read.
        """
        outage: CacheUnavailable | None = None
        try:
            if names := await self.redis.symbols(spec):
                return names, "redis"
        except CacheUnavailable as error:
            outage = error
        try:
            names = await self.postgres.read(symbols_of, spec)
        except DatabaseUnavailable as error:
            raise _both(error, outage) from error
        return names, "postgres"

    async def _from_postgres(
        self, spec: Feed, symbols: Sequence[str], outage: CacheUnavailable | None
    ) -> dict[str, str]:
        try:
            return await self.postgres.read(newest_values, spec, symbols)
        except DatabaseUnavailable as error:
            raise _both(error, outage) from error


def _both(error: DatabaseUnavailable, outage: CacheUnavailable | None) -> DatabaseUnavailable:
    if outage is None:
        return error
    return DatabaseUnavailable(f"{outage.args[0]}; {error.args[0]}", fix=error.fix)

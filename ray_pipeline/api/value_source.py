"""Where values come from: Redis first, Postgres where Redis has none or is away."""

from collections.abc import Sequence
from dataclasses import dataclass

from ray_pipeline.errors import CacheUnavailable, DatabaseUnavailable
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.storage.postgres.pages import newest_values, symbols_of
from ray_pipeline.storage.postgres.pool import Pool
from ray_pipeline.storage.redis.latest_reader import LatestReader


@dataclass(frozen=True, slots=True)
class Found:
    """Values by symbol, JSON texts, and which store had them: redis, postgres, or both."""

    values: dict[str, str]
    source: str


class Stores:
    """Both stores."""

    def __init__(self, redis: LatestReader, postgres: Pool) -> None:
        self.redis = redis
        self.postgres = postgres

    async def close(self) -> None:
        """Close the connections to both."""
        await self.redis.close()
        await self.postgres.close()

    async def one(self, spec: Feed, symbol: str) -> tuple[str | None, str]:
        """
        Return a symbol's latest value and the store that had it.

        Raises:
            DatabaseUnavailable: If Redis has none and Postgres cannot be asked.
        """
        try:
            value = await self.redis.one(spec, symbol)
        except CacheUnavailable as error:
            found = await self._from_postgres(spec, [symbol], error)
        else:
            if value is not None:
                return value, "redis"
            found = await self._from_postgres(spec, [symbol], None)
        return found.get(symbol), "postgres"

    async def many(self, spec: Feed, symbols: Sequence[str]) -> Found:
        """
        Return symbols' latest values; symbols without one are left out.

        Raises:
            DatabaseUnavailable: If Redis lacks one and Postgres cannot be asked.
        """
        try:
            values = await self.redis.many(spec, symbols)
        except CacheUnavailable as error:
            return Found(await self._from_postgres(spec, symbols, error), "postgres")
        found = {
            symbol: value
            for symbol, value in zip(symbols, values, strict=True)
            if value is not None
        }
        missing = [symbol for symbol in symbols if symbol not in found]
        if not missing:
            return Found(found, "redis")
        more = await self._from_postgres(spec, missing, None)
        sources = [name for name, some in (("redis", found), ("postgres", more)) if some]
        return Found(found | more, ",".join(sources) or "postgres")

    async def symbols(self, spec: Feed) -> tuple[list[str], str]:
        """
        Return the symbols of which there is a value, in order, and the store that said so.

        Raises:
            DatabaseUnavailable: If neither store can be asked.
        """
        outage: CacheUnavailable | None = None
        try:
            if names := await self.redis.symbols(spec):
                return names, "redis"
        except CacheUnavailable as error:
            outage = error
        try:
            names = await self.postgres.read(lambda connection: symbols_of(connection, spec))
        except DatabaseUnavailable as error:
            raise _both(error, outage) from error
        return names, "postgres"

    async def _from_postgres(
        self, spec: Feed, symbols: Sequence[str], outage: CacheUnavailable | None
    ) -> dict[str, str]:
        try:
            return await self.postgres.read(
                lambda connection: newest_values(connection, spec, symbols)
            )
        except DatabaseUnavailable as error:
            raise _both(error, outage) from error


def _both(error: DatabaseUnavailable, outage: CacheUnavailable | None) -> DatabaseUnavailable:
    if outage is None:
        return error
    return DatabaseUnavailable(f"{outage.args[0]}; {error.args[0]}", fix=error.fix)

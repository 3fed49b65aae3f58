"""Latest values: Redis first, Postgres for the rest."""

import pytest

from ray_pipeline.api import value_source
from ray_pipeline.api.value_source import LatestValues, ValueSource
from ray_pipeline.errors import CacheUnavailable, DatabaseUnavailable
from ray_pipeline.feeds.feed_registry import FEEDS

SPEC = FEEDS[0]


class Redis:
    """Values by symbol; None: it is down."""

    def __init__(self, values):
        self.values = values

    def _get(self):
        if self.values is None:
            raise CacheUnavailable("Redis is down")
        return self.values

    async def value_of(self, _spec, symbol):
        return self._get().get(symbol)

    async def many(self, _spec, symbols):
        return [self._get().get(symbol) for symbol in symbols]

    async def symbols(self, _spec):
        return sorted(self._get())


class Postgres(Redis):
    """Runs the query on its values in place of a connection."""

    async def read(self, query, *arguments):
        if self.values is None:
            raise DatabaseUnavailable("Postgres is down", fix="start it")
        return await query(self.values, *arguments)


@pytest.fixture
def source(monkeypatch):
    async def newest(values, _spec, symbols):
        return {symbol: values[symbol] for symbol in symbols if symbol in values}

    async def symbols(values, _spec):
        return sorted(values)

    monkeypatch.setattr(value_source, "newest_values", newest)
    monkeypatch.setattr(value_source, "symbols_of", symbols)
    return lambda redis, postgres: ValueSource(Redis(redis), Postgres(postgres))


@pytest.mark.parametrize(
    ("redis", "postgres", "expected"),
    [
        ({"A": "1"}, None, ("1", "redis")),
        ({}, {"A": "2"}, ("2", "postgres")),
        (None, {"A": "2"}, ("2", "postgres")),
        ({}, {}, (None, "postgres")),
    ],
)
async def test_postgres_is_read_only_without_a_value_in_redis(source, redis, postgres, expected):
    """So that an outage of Postgres does not matter for values that Redis has."""
    assert await source(redis, postgres).value_of(SPEC, "A") == expected


@pytest.mark.parametrize(
    ("redis", "postgres", "expected"),
    [
        ({"A": "1", "B": "2"}, None, LatestValues({"A": "1", "B": "2"}, "redis")),
        ({"A": "1"}, {"B": "3"}, LatestValues({"A": "1", "B": "3"}, "redis,postgres")),
        (None, {"A": "4"}, LatestValues({"A": "4"}, "postgres")),
        ({}, {}, LatestValues({}, "postgres")),
    ],
)
async def test_each_missing_symbol_comes_from_postgres(source, redis, postgres, expected):
    """And the result names the stores that had values."""
    assert await source(redis, postgres).many(SPEC, ["A", "B"]) == expected


async def test_symbols_come_from_postgres_if_redis_has_none(source):
    """An empty Redis has lost its data or has not been filled yet."""
    assert await source({"A": "1"}, None).symbols(SPEC) == (["A"], "redis")
    assert await source({}, {"B": "1"}).symbols(SPEC) == (["B"], "postgres")


async def test_two_outages_are_reported_together(source):
    """With the fix of the second."""
    for call in (
        source(None, None).value_of(SPEC, "A"),
        source(None, None).many(SPEC, ["A"]),
        source(None, None).symbols(SPEC),
    ):
        with pytest.raises(DatabaseUnavailable, match="Redis is down; Postgres is down") as error:
            await call
        assert error.value.fix == "start it"

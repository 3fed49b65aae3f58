"""Ages of times that Python cannot hold, computed by a real Postgres."""

import math

import pytest
from psycopg import sql

from ray_pipeline.storage.postgres.any_time import age_s
from ray_pipeline.storage.postgres.connection import session

QUERY = sql.SQL("SELECT {age} FROM (SELECT {at}::timestamptz AS at) AS times")


@pytest.mark.parametrize(
    ("at", "positive"),
    [("infinity", False), ("-infinity", True), ("294276-12-31", False), ("4713-01-01 BC", True)],
)
async def test_an_age_is_finite_and_keeps_its_sign(postgres_dsn, at, positive):
    """JSON has no infinity."""
    async with session(postgres_dsn, name="test") as connection:
        cursor = await connection.execute(QUERY.format(age=age_s("at"), at=sql.Literal(at)))
        (age,) = await cursor.fetchone()

    assert math.isfinite(age)
    assert (age > 0) is positive


async def test_a_missing_time_has_no_age(postgres_dsn):
    """NULL stays NULL."""
    async with session(postgres_dsn, name="test") as connection:
        cursor = await connection.execute(QUERY.format(age=age_s("at"), at=sql.Literal(None)))

        assert await cursor.fetchone() == (None,)

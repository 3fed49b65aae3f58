"""A store goes away and comes back while clients ask."""

import asyncio
import json

import pytest

from tests.integration.api.serving import configure, serving, trade, writing
from tests.support import eventually

ONE = "/v1/feeds/sp500/latest/AAPL"
FROM_POSTGRES = ["/v1/feeds/sp500/history/AAPL", "/v1/gaps", "/v1/runs", "/v1/health", "/ready"]


@pytest.fixture
def broken(own_postgres, own_redis):
    """Settings of an API whose stores this test may stop."""
    return configure(own_postgres.dsn, own_redis.url)


async def error_of(client, path: str) -> str:
    """Return what a 503 says."""
    status, body, headers = await client.ask(path)
    assert status == 503, (path, status, body)
    assert headers["Retry-After"]
    found = json.loads(body)
    assert found["fix"]
    return found["error"]


async def source(client) -> str | int:
    """Return which store has the latest value, or the status of a refusal."""
    status, _, headers = await client.ask(ONE)
    return headers["X-Source"] if status == 200 else status


async def test_latest_values_survive_redis_and_return_to_it(broken, own_redis):
    """Postgres answers at once, and Redis again when it is back."""
    async with writing(broken) as writer, serving(broken) as client:
        await writer.write(trade(1))
        before = await client.get(ONE)
        assert await source(client) == "redis"

        await asyncio.to_thread(own_redis.stop)

        assert await source(client) == "postgres"
        assert await client.get(ONE) == before
        everything = await client.get("/v1/feeds/sp500/latest")
        assert [one["symbol"] for one in everything["values"]] == ["AAPL"]
        await asyncio.to_thread(own_redis.start)
        await eventually(lambda: _is(client, "redis"), what="Redis' answer")


async def _is(client, wanted) -> bool:
    return await source(client) == wanted


async def test_without_postgres_latest_values_stay_and_the_rest_says_why(broken, own_postgres):
    """503 with a reason; the same connections' successors answer when it is back."""
    async with writing(broken) as writer, serving(broken) as client:
        await writer.write(trade(1))
        for path in FROM_POSTGRES:
            await client.ask(path)

        await asyncio.to_thread(own_postgres.stop)

        assert await source(client) == "redis"
        for path in FROM_POSTGRES:
            await eventually(lambda path=path: _refused(client, path), what=f"a refusal of {path}")
            assert "Postgres" in await error_of(client, path)
        assert await client.status("/live", headers={}) == 200
        await asyncio.to_thread(own_postgres.start)
        for path in FROM_POSTGRES:
            await eventually(lambda path=path: _good(client, path), what=f"an answer of {path}")


async def _refused(client, path) -> bool:
    return await client.status(path) == 503


async def _good(client, path) -> bool:
    return await client.status(path) == 200


async def test_without_either_store_both_reasons_are_given(broken, own_postgres, own_redis):
    """And each store's return brings the values back."""
    async with writing(broken) as writer, serving(broken) as client:
        await writer.write(trade(1))
        await asyncio.to_thread(own_postgres.stop)
        await asyncio.to_thread(own_redis.stop)

        for path in (ONE, "/v1/feeds/sp500/latest", "/v1/feeds/sp500/symbols"):
            said = await error_of(client, path)
            assert "Redis" in said, said
            assert "Postgres" in said, said

        await asyncio.to_thread(own_postgres.start)
        await eventually(lambda: _is(client, "postgres"), what="Postgres' answer")


async def test_under_load_an_outage_is_503_or_an_answer_never_an_error(
    broken, own_redis, own_postgres
):
    """503 or an answer: clients ask all the time while Redis, then Postgres too, goes and comes."""
    seen: set[int] = set()
    stop = asyncio.Event()

    async def ask(client, path: str) -> None:
        while not stop.is_set():
            seen.add(await client.status(path))

    async with writing(broken) as writer, serving(broken) as client:
        await writer.write(trade(1))
        paths = [ONE, "/v1/feeds/sp500/latest", "/v1/feeds/sp500/history/AAPL", "/v1/gaps"]
        asking = [asyncio.create_task(ask(client, path)) for path in paths * 5]
        for server in (own_redis, own_postgres):
            await asyncio.to_thread(server.stop)
        await eventually(lambda: 503 in seen, what="a refusal")
        for server in (own_postgres, own_redis):
            await asyncio.to_thread(server.start)
        await eventually(lambda: _is(client, "postgres"), what="Postgres' answer")
        stop.set()
        async with asyncio.timeout(30):
            await asyncio.gather(*asking)
        assert seen <= {200, 503}, seen
        for path in paths:
            assert await client.status(path) == 200


async def test_the_api_starts_before_its_stores(own_postgres, own_redis):
    """And answers as soon as they are there."""
    configured = configure(own_postgres.dsn, own_redis.url)
    await asyncio.to_thread(own_postgres.stop)
    await asyncio.to_thread(own_redis.stop)
    async with serving(configured) as client:
        assert await client.status("/live", headers={}) == 200
        assert "Postgres" in await error_of(client, "/v1/runs")
        await asyncio.to_thread(own_postgres.start)
        await eventually(lambda: _good(client, "/v1/runs"), what="the runs")

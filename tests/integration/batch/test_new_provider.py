"""A provider in a module of its own, from the job to the stored row."""

from datetime import UTC, date, datetime

import psycopg
from aiohttp import web
from aiohttp.test_utils import TestServer

from ray_pipeline import catalog, settings
from ray_pipeline.services.job_run import collect
from tests.extra_modules import extra_modules
from tests.streams import rows

SLOT = datetime(2026, 11, 23, 6, tzinfo=UTC)


async def test_a_run_calls_a_new_provider(postgres_dsn, tmp_path):
    """The settings have its URL and its key, and the ledger counts its calls."""
    keys = []

    async def answer(request: web.Request) -> web.Response:
        keys.append(request.query["key"])
        return web.json_response({"date": "2026-11-23", "degrees": 7})

    app = web.Application()
    app.router.add_get("/today", answer)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE temperatures (date DATE PRIMARY KEY, degrees INTEGER)")
    with extra_modules(tmp_path) as modules:
        modules.add_weather()
        async with TestServer(app) as server:
            configured = settings.load(
                postgres={"dsn": postgres_dsn},
                api_keys={"weather": ["key-1"]},
                weather={"rest_url": str(server.make_url(""))},
            )
            outcome = await collect(configured, catalog.job("temperatures"), SLOT)

    assert (outcome.state, outcome.why) == ("succeeded", "")
    assert keys == ["key-1"]
    assert rows(postgres_dsn, "SELECT * FROM temperatures") == [(date(2026, 11, 23), 7)]
    assert rows(postgres_dsn, "SELECT provider, calls FROM quota_grants") == [("weather", 1)]

"""Rows with times before the year 1, after 9999 and of infinity: every reader shows them."""

import asyncio
import json

import psycopg
import pytest
from typer.testing import CliRunner

import ray_pipeline
from ray_pipeline.cli.main import app
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.timestamps import EARLIEST, LATEST
from tests.integration.api.serving import SECRET, TOKEN, configure, serving
from tests.integration.api.test_api import every_path
from tests.integration.foreign_rows import TIMES, plant

FIRST, LAST = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"


@pytest.fixture
def planted(postgres_dsn, redis_url):
    """The settings of an API whose database has such rows."""
    configured = configure(postgres_dsn, redis_url)
    plant(postgres_dsn, key=configured.key_fingerprints()["alpha_vantage"][0])
    return configured


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date"])
async def test_a_connection_reads_the_nearest_time(postgres_dsn, kind, binary):
    """In both formats, and in an array; a time that Python has is read as it is."""
    async with session(postgres_dsn, name="test") as connection:
        cursor = connection.cursor(binary=binary)
        found = []
        for time in TIMES:
            await cursor.execute(f"SELECT '{time}'::{kind}, ARRAY['{time}'::{kind}]")
            value, (element,) = await cursor.fetchone()
            assert value == element
            found.append(value)
        await cursor.execute(f"SELECT '2026-01-05'::{kind}::text, '2026-01-05'::{kind}")
        text, value = await cursor.fetchone()

    first = {"timestamptz": EARLIEST, "timestamp": EARLIEST.replace(tzinfo=None)}
    last = {"timestamptz": LATEST, "timestamp": LATEST.replace(tzinfo=None)}
    assert found == [first.get(kind, EARLIEST.date())] * 3 + [last.get(kind, LATEST.date())] * 2
    assert str(value) == (f"{text}:00" if kind == "timestamptz" else text)


async def test_what_is_no_time_is_still_an_error(postgres_dsn):
    """Only the size of a time is forgiven."""
    async with session(postgres_dsn, name="test") as connection:
        await connection.execute("SET datestyle = 'German'")
        with pytest.raises((psycopg.DataError, NotImplementedError)):
            await (await connection.execute("SELECT now()")).fetchone()


async def test_every_route_answers(planted):
    """One such row would be a 500 of every page that has it, until somebody deletes it."""
    async with serving(planted) as client:
        for path in await every_path(client):
            status, body, _ = await client.ask(path)
            assert status == 200 or (path, status) == ("/ready", 503), (path, status, body[:300])
            json.loads(body)
        gaps = (await client.get("/v1/gaps"))["rows"]
        letters = (await client.get("/v1/dead-letters"))["rows"]

    assert [row["from_at"] for row in gaps] == [LAST, LAST, FIRST, FIRST, FIRST]
    assert [row["parked_at"] for row in letters] == [LAST, LAST, FIRST, FIRST, FIRST]


@pytest.mark.parametrize("order", ["oldest", "newest"])
@pytest.mark.parametrize(
    ("path", "rows"),
    [
        ("/v1/feeds/sp500/history/AAPL", 15),
        ("/v1/feeds/bithumb/history/KRW-BTC", 15),
        ("/v1/feeds/sp500/bars/AAPL", 2),
    ],
)
async def test_paging_comes_to_an_end(planted, path, rows, order):
    """A page begins behind the one before, although several times are read as the same one."""
    async with serving(planted) as client:
        page = await client.get(f"{path}?limit=1&order={order}")
        found = page["rows"]
        while page["next"] is not None:
            assert len(found) <= 15, "the same row came again"
            page = await client.get(f"{path}?limit=1&order={order}&after={page['next']}")
            found += page["rows"]

    assert len(found) == rows


@pytest.mark.parametrize(
    "arguments",
    [
        "gaps", "gaps --json", "gaps --since 999999999d", "gaps --since 0001-01-01T00:00+14:00",
        "status", "status --json", "audit --wait 0", "audit --wait 0 --json",
        "dlq list --state all", "dlq list --json", "dlq show 1", "dlq drop 1 --why test",
        "runs", "runs --json", "why cpi", "why company_news", "why financials", "why market_news",
        "why treasury_yield", "findings", "findings --json", "quotas", "quotas --json",
    ],
)  # fmt: skip
def test_every_command_answers(planted, tansu_server, topic_prefix, tmp_path, arguments):
    """A traceback is no answer, and neither is JSON that only Python can read."""
    environment = {
        "PIPELINE_POSTGRES__DSN": planted.postgres_dsn(),
        "PIPELINE_REDIS__URL": planted.redis_url(),
        "PIPELINE_KAFKA__BOOTSTRAP_SERVERS": tansu_server.bootstrap_servers,
        "PIPELINE_KAFKA__TOPIC_PREFIX": topic_prefix,
        "PIPELINE_API_KEYS": f'{{"finnhub": ["{SECRET}"], "alpha_vantage": ["{SECRET}-b"]}}',
        "PIPELINE_HOME": str(tmp_path),
    }
    result = CliRunner(env=environment).invoke(app, arguments.split())

    assert result.exit_code in (0, 1, 2), result.output
    if result.exit_code == 2:
        assert "is no time" in result.output
    assert not result.exception or isinstance(result.exception, SystemExit), result.exception
    if "--json" in arguments:
        json.loads(result.stdout, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


@pytest.mark.parametrize("form", ["pandas", "arrow"])
@pytest.mark.parametrize("source", ["stores", "api"])
async def test_every_frame_holds_them(planted, monkeypatch, tmp_path, source, form):
    """Frames count microseconds, which reach from the year 1 to 9999."""
    for name, value in {
        "PIPELINE_HOME": str(tmp_path),
        "PIPELINE_POSTGRES__DSN": planted.postgres_dsn(),
        "PIPELINE_REDIS__URL": planted.redis_url(),
        "PIPELINE_API_KEYS": f'{{"finnhub": ["{SECRET}"], "alpha_vantage": ["{SECRET}-b"]}}',
    }.items():
        monkeypatch.setenv(name, value)
    async with serving(planted) as client:
        address = [client.url] if source == "api" else []
        options = {"token": TOKEN} if source == "api" else {}
        pipeline = await asyncio.to_thread(ray_pipeline.connect, *address, **options)
        frames = {
            name: await asyncio.to_thread(getattr(pipeline, name), *arguments, as_=form)
            for name, arguments in {
                "gaps": (), "latest": (), "history": ("AAPL",), "bars": ("AAPL",), "jobs": (),
                "runs": (), "quotas": (), "status": (),
            }.items()
        }  # fmt: skip
        ranged = await asyncio.to_thread(
            pipeline.history, "AAPL", start=EARLIEST, end=LATEST, as_=form
        )
        await asyncio.to_thread(pipeline.close)

    assert {len(frames["gaps"]), len(frames["runs"])} == {len(TIMES)}
    assert (len(frames["history"]), len(frames["bars"])) == (15, len(TIMES))
    assert len(ranged) == 5
    assert all(str(frame) for frame in frames.values())
    gaps = frames["gaps"].to_pylist() if form == "arrow" else frames["gaps"].to_dict("records")
    assert {row["from_at"].year for row in gaps} == {1, 9999}

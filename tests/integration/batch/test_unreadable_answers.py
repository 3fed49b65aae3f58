"""Whatever one answer contains, it costs its own item only."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

import psycopg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ray_pipeline.catalog import job
from ray_pipeline.errors import DatabaseUnavailable, OwnershipLost
from ray_pipeline.services.job_run import collect
from ray_pipeline.settings import load
from tests.support import eventually

SLOT = datetime(2026, 11, 2, 6, tzinfo=UTC)
COMPANIES = 12
BAD = "S01"
JSON = "application/json"


def articles(symbol: str) -> list[dict[str, object]]:
    """Return Finnhub's answer about a company."""
    return [
        {
            "category": "company", "datetime": 1_793_000_000 + index,
            "headline": f"Headline {index}", "id": int(symbol[1:]) * 100 + index, "image": "",
            "related": symbol, "source": "Test", "summary": "text", "url": f"https://x/{symbol}/{index}",
        }
        for index in range(3)
    ]  # fmt: skip


def article(**changes: object) -> bytes:
    """Return an answer of one article with other values."""
    return json.dumps([articles(BAD)[0] | changes]).encode()


@dataclass
class Provider:
    """A Finnhub that sends some symbols prepared bodies, with their content types."""

    answers: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    on_call: object = None

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a call."""
        symbol = request.query["symbol"]
        self.calls.append(symbol)
        if callable(self.on_call):
            await self.on_call(symbol)
        usual = json.dumps(articles(symbol)).encode(), JSON
        body, content_type = self.answers.get(symbol, usual)
        return web.Response(body=body, headers={"Content-Type": content_type})


@pytest.fixture
async def provider(postgres_dsn, monkeypatch) -> AsyncIterator[Provider]:
    """The server, which receives all calls, and companies to request."""
    provider = Provider()
    app = web.Application()
    app.router.add_get("/company-news", provider.answer)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO sp500_companies (symbol, company_name) "
            "SELECT 'S' || lpad(n::text, 2, '0'), 'Company' FROM generate_series(1, %s) AS n",
            (COMPANIES,),
        )
    async with TestServer(app) as server:
        monkeypatch.setenv("PIPELINE_FINNHUB__REST_URL", str(server.make_url("")))
        monkeypatch.setenv("PIPELINE_POSTGRES__DSN", postgres_dsn)
        monkeypatch.setenv("PIPELINE_API_KEYS", '{"finnhub": ["key"]}')
        monkeypatch.setenv("PIPELINE_JOBS__SPEED", "100000")
        yield provider


def query(dsn: str, statement: str) -> list[tuple]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (b"[" * 100_000 + b"]" * 100_000, JSON, "nested too deeply (RecursionError"),
        (b'[{"id": ' + b"9" * 5_000 + b"}]", JSON, "a field is missing (KeyError: 'url')"),
        (b"[1, 2", JSON, "4 attempts: not JSON, or cut off"),
        (b'[{"id": 1}] [', JSON, "4 attempts: not JSON, or cut off"),
        (article(datetime=1e300), JSON, "(BadValue: '1E+300' is not a time"),
        (
            article(url=f"https://x/{Random(1).randbytes(10_000).hex()}"),
            JSON,
            "no row can be stored",
        ),
        (b'{"errors": ["text"]}', JSON, "(TypeError: not a list"),
    ],
    ids=["deep", "digits", "cut off", "two documents", "far future", "long key", "errors"],
)
async def test_an_unreadable_answer_fails_its_item_only(
    provider, postgres_dsn, body, content_type, words
):
    """The reason is in plain words, and the payload waits as a dead letter."""
    provider.answers[BAD] = body, content_type

    outcome = await collect(load(), job("company_news"), SLOT)

    assert (outcome.items_done, outcome.items_failed) == (COMPANIES - 1, 1)
    (failed,) = query(postgres_dsn, "SELECT item, why FROM job_items WHERE state = 'failed'")
    assert failed[0] == BAD
    assert words in failed[1]
    letters = query(
        postgres_dsn,
        "SELECT body FROM dead_letters JOIN payloads ON id_of = payloads.id".replace(
            "id_of", '"offset"'
        ),
    )
    assert body.decode() in {text for (text,) in letters}
    stored = query(postgres_dsn, "SELECT count(DISTINCT symbol) FROM company_news")
    assert stored == [(COMPANIES - 1,)]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (article(headline="cut \ud83d off"), JSON),
        (article(headline="a\x00b"), JSON),
        (article(headline=r"a literal \u0000"), JSON),
        (article(), f"{JSON}; charset=no-such-charset"),
        (article(), f"{JSON}; charset=zlib"),
        (b"\xef\xbb\xbf" + article(), JSON),
        (article().decode().encode("utf-16"), JSON),
        (article(headline="é").decode().encode() + b" ", f"{JSON}; charset=utf-7"),
    ],
    ids=["surrogate", "NUL", "literal", "unknown charset", "codec", "BOM", "UTF-16", "UTF-7"],
)
async def test_text_of_any_encoding_is_stored(provider, postgres_dsn, body, content_type):
    provider.answers[BAD] = body, content_type

    outcome = await collect(load(), job("company_news"), SLOT)

    assert (outcome.state, outcome.items_done) == ("succeeded", COMPANIES)
    stored = query(postgres_dsn, f"SELECT title FROM company_news WHERE symbol = '{BAD}'")
    assert len(stored) == 1
    assert query(postgres_dsn, "SELECT count(*) FROM dead_letters") == [(0,)]


async def test_a_body_that_is_not_what_its_header_says_fails_its_item_only(provider, postgres_dsn):
    """Packed bytes that are not announced as such are not text."""
    provider.answers[BAD] = gzip.compress(article()), JSON

    outcome = await collect(load(), job("company_news"), SLOT)

    assert (outcome.items_done, outcome.items_failed) == (COMPANIES - 1, 1)


async def test_five_unreadable_items_at_the_head_do_not_block_a_sweep(provider, postgres_dsn):
    for number in range(1, 6):
        provider.answers[f"S{number:02}"] = b'[{"id": "x"}, 5]', JSON

    first = await collect(load(), job("company_news"), SLOT)
    again = await collect(load(), job("company_news"), SLOT + timedelta(days=1))

    assert (first.items_done, first.items_failed) == (COMPANIES - 5, 5)
    # Nothing else is due, and the failed items wait: the run says so and costs no call.
    assert (again.state, again.calls) == ("failed", 0)
    assert "5 items failed before; the next attempt is due at" in again.why
    assert len(provider.calls) == COMPANIES


async def test_an_outage_of_postgres_is_not_a_bad_answer(provider, postgres_dsn):
    """The run ends with the outage; no item fails, and no answer becomes a dead letter."""

    async def end_the_connection(symbol: str) -> None:
        if symbol == BAD:
            query(
                postgres_dsn,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'job company_news'",
            )

    provider.on_call = end_the_connection

    with pytest.raises(DatabaseUnavailable):
        await collect(load(), job("company_news"), SLOT)

    assert query(postgres_dsn, "SELECT count(*) FROM dead_letters") == [(0,)]
    assert query(postgres_dsn, "SELECT count(*) FROM job_items WHERE state = 'failed'") == [(0,)]
    runs = query(postgres_dsn, "SELECT state, calls FROM job_runs")
    assert runs == [("failed", len(provider.calls))]


async def test_the_calls_of_a_cancelled_run_are_counted(provider, postgres_dsn):
    waiting = asyncio.Event()

    async def wait(_symbol: str) -> None:
        await waiting.wait()

    provider.on_call = wait
    run = asyncio.create_task(collect(load(), job("company_news"), SLOT))
    await eventually(lambda: len(provider.calls) == 8)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    waiting.set()

    assert query(postgres_dsn, "SELECT state, why, calls FROM job_runs") == [
        ("failed", "interrupted", 8)
    ]


async def test_heartbeats_count_the_calls_of_a_run_that_is_taken_over(
    provider, postgres_dsn, monkeypatch
):
    """Whatever happens to its process later, the calls up to the last heartbeat are known."""
    monkeypatch.setenv("PIPELINE_JOBS__HEARTBEAT_S", "0.1")
    waiting = asyncio.Event()

    async def wait(_symbol: str) -> None:
        await waiting.wait()

    provider.on_call = wait
    run = asyncio.create_task(collect(load(), job("company_news"), SLOT))
    await eventually(lambda: query(postgres_dsn, "SELECT calls FROM job_runs") == [(8,)])
    query(postgres_dsn, "UPDATE job_runs SET holder = 'another process'")
    (result,) = await asyncio.gather(run, return_exceptions=True)
    waiting.set()

    assert isinstance(result, OwnershipLost)
    assert query(postgres_dsn, "SELECT calls FROM job_runs") == [(8,)]

"""Answers of any size: a run takes what it can, says what it does not, and stays small."""

import asyncio
import gzip
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import psycopg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ray_pipeline.batch.collector import SMALL_BYTES
from ray_pipeline.catalog import job
from ray_pipeline.services.job_run import collect
from ray_pipeline.settings import load

SLOT = datetime(2026, 11, 2, 6, tzinfo=UTC)
MIB = 2**20
HUGE_BYTES = 200 * MIB
MOST_BYTES = 250 * 10**6


def articles(symbol: str, *, size_bytes: int) -> list[dict[str, object]]:
    """Finnhub's answer for a company, of about this size."""
    number = max(1, size_bytes // 1_000)
    return [
        {
            "category": "company",
            "datetime": 1_793_000_000 + index,
            "headline": f"Headline {index}",
            "id": int(symbol[1:]) * 1_000_000 + index,
            "image": "",
            "related": symbol,
            "source": "Test",
            "summary": "x" * 800,
            "url": f"https://x/{symbol}/{index}",
        }
        for index in range(number)
    ]


class Provider:
    """A Finnhub whose answers are as large as the test wants."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.calls: list[str] = []
        self.huge = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        symbol = request.query["symbol"]
        self.calls.append(symbol)
        if self.huge == "packed":
            body = gzip.compress(b"[" + b" " * HUGE_BYTES, compresslevel=1)
            return web.Response(body=body, headers={"Content-Encoding": "gzip"})
        if self.huge == "endless":
            response = web.StreamResponse()
            await response.prepare(request)
            try:
                for _ in range(HUGE_BYTES // MIB):
                    await response.write(b" " * MIB)
            except ConnectionError:
                pass  # it has had enough, as it should
            return response
        found = articles(symbol, size_bytes=self.sizes.get(symbol, 2_000))
        return web.Response(text=json.dumps(found), content_type="application/json")


@pytest.fixture
async def provider(postgres_dsn, monkeypatch) -> AsyncIterator[Provider]:
    """The server; the settings send all calls to it."""
    one = Provider()
    app = web.Application()
    app.router.add_get("/company-news", one.answer)
    async with TestServer(app) as server:
        monkeypatch.setenv("PIPELINE_FINNHUB__REST_URL", str(server.make_url("")))
        monkeypatch.setenv("PIPELINE_POSTGRES__DSN", postgres_dsn)
        monkeypatch.setenv("PIPELINE_API_KEYS", '{"finnhub": ["key"]}')
        monkeypatch.setenv("PIPELINE_JOBS__SPEED", "100000")
        yield one


def add_companies(dsn: str, count: int) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO sp500_companies (symbol, company_name) "
            "SELECT 'S' || n, 'Company ' || n FROM generate_series(1, %s) AS n",
            (count,),
        )


# The kernel's own record of the process's largest size; `ru_maxrss` would count its parent's too.
ALONE = """
import asyncio, json
from datetime import datetime
from pathlib import Path
from ray_pipeline.catalog import job
from ray_pipeline.services.job_run import collect
from ray_pipeline.settings import load
outcome = asyncio.run(collect(load(), job("company_news"), datetime.fromisoformat("{slot}")))
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps([outcome.as_json(), int(status["VmHWM"].split()[0]) * 1024], default=str))
"""


async def run_alone() -> tuple[dict[str, object], int]:
    """Run the job in a process of its own; return how it ended, and its largest size in bytes."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ALONE.format(slot=SLOT.isoformat()), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(process.communicate(), 240)
    outcome, most_bytes = json.loads(said)
    return outcome, most_bytes


@pytest.mark.parametrize("kind", ["endless", "packed"])
async def test_an_answer_of_200_mb_is_broken_off(provider, postgres_dsn, kind):
    """Also one that is small as long as it is packed: asked once, refused with the reason."""
    add_companies(postgres_dsn, 1)
    provider.huge = kind

    outcome, most_bytes = await run_alone()

    assert outcome["state"] == "failed"
    assert "answered with more than 8 MiB, which is not taken" in str(outcome["why"])
    assert outcome["calls"] == len(provider.calls) == 1
    assert most_bytes < MOST_BYTES


async def test_large_answers_are_taken_one_at_a_time(provider, postgres_dsn):
    """All rows of twelve answers of 6 MB; several of them in memory would be too much."""
    add_companies(postgres_dsn, 12)
    provider.sizes = {f"S{number}": 6 * MIB for number in range(1, 13)}

    outcome, most_bytes = await run_alone()

    assert outcome["state"] == "succeeded"
    assert outcome["rows_new"] == 12 * len(articles("S1", size_bytes=6 * MIB))
    assert outcome["calls"] == len(provider.calls) == 24
    assert most_bytes < MOST_BYTES


async def test_only_what_is_too_large_for_company_is_asked_for_twice(provider, postgres_dsn):
    """Its item is done like the others, and both calls are counted."""
    add_companies(postgres_dsn, 20)
    provider.sizes = {"S7": SMALL_BYTES * 2}

    outcome = await collect(load(), job("company_news"), SLOT)

    assert (outcome.state, outcome.items_done, outcome.items_failed) == ("succeeded", 20, 0)
    assert sorted(provider.calls) == sorted([f"S{number}" for number in range(1, 21)] + ["S7"])
    assert provider.calls[-1] == "S7"
    assert outcome.calls == 21

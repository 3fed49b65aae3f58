"""Calls of Yahoo, of a server of the test's own."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ray_pipeline.errors import ProviderUnavailable
from ray_pipeline.jobs.spec import Request
from ray_pipeline.providers.refusals import Refusal, yahoo
from ray_pipeline.simulators.bodies import generate
from ray_pipeline.storage.yahoo_client import CALENDAR, fetch_yahoo


@pytest.fixture
async def base_url() -> AsyncIterator[str]:
    """A server that answers as the simulator of Yahoo does."""

    async def answer(request: web.Request) -> web.Response:
        if request.query.get("symbol") == "NONE":
            return web.Response(text="<html><p>Sign in</p></html>", content_type="text/html")
        body = generate("yahoo", request.path, request.query, seed=1)
        return web.Response(text=body.text, content_type=body.content_type, status=body.status)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server:
        yield str(server.make_url(""))


async def test_an_answer_comes_as_yahoo_wrote_it(base_url: str):
    """With its status and its headers."""
    request = Request("AAPL", "/v8/finance/chart/AAPL", {"interval": "1d"})

    answer = await fetch_yahoo(request, base_url=base_url, timeout_s=5)

    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.body()["chart"]["result"][0]["meta"]["symbol"] == "AAPL"


async def test_the_calendar_page_becomes_json(base_url: str):
    """By the names of its columns."""
    request = Request("AAPL", CALENDAR, {"symbol": "AAPL"})

    answer = await fetch_yahoo(request, base_url=base_url, timeout_s=5)

    assert yahoo(answer) is None
    lines = answer.body()["earningsCalendar"]["result"]
    assert len(lines) > 5
    assert set(lines[0]) >= {"Earnings Date", "EPS Estimate", "Reported EPS", "Surprise (%)"}


async def test_a_page_without_a_calendar_is_a_refusal(base_url: str):
    """Not a company that never reports."""
    answer = await fetch_yahoo(
        Request("X", CALENDAR, {"symbol": "NONE"}), base_url=base_url, timeout_s=5
    )

    verdict = yahoo(answer)
    assert verdict is not None
    assert verdict.refusal is Refusal.REQUEST


async def test_no_server_is_an_unavailable_provider():
    """The text names no address."""
    with pytest.raises(ProviderUnavailable, match="Yahoo Finance cannot be reached"):
        await fetch_yahoo(Request("X", "/"), base_url="http://127.0.0.1:9", timeout_s=5)

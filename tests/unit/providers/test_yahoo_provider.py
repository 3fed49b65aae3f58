"""Calls of Yahoo, of a server of the test's own."""

from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ray_pipeline.errors import ProviderUnavailable
from ray_pipeline.providers.refusals import Refusal
from ray_pipeline.providers.yahoo import CALENDAR, PROVIDER, classify, open_client
from ray_pipeline.simulators.bodies import generate
from ray_pipeline.transport.answer import Answer


async def fetch(
    base_url: str, path: str, params: Mapping[str, str] = MappingProxyType({})
) -> Answer:
    async with open_client(PROVIDER, base_url) as client:
        return await client.fetch(path, params, key="", largest_bytes=2**20)


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
    answer = await fetch(base_url, "/v8/finance/chart/AAPL", {"interval": "1d"})

    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.body()["chart"]["result"][0]["meta"]["symbol"] == "AAPL"


async def test_the_calendar_page_becomes_json(base_url: str):
    """By the names of its columns."""
    answer = await fetch(base_url, CALENDAR, {"symbol": "AAPL"})

    assert classify(answer) is None
    lines = answer.body()["earningsCalendar"]["result"]
    assert len(lines) > 5
    assert set(lines[0]) >= {"Earnings Date", "EPS Estimate", "Reported EPS", "Surprise (%)"}


async def test_a_page_without_a_calendar_is_a_refusal(base_url: str):
    """Not a company that never reports."""
    answer = await fetch(base_url, CALENDAR, {"symbol": "NONE"})

    verdict = classify(answer)
    assert verdict is not None
    assert verdict.refusal is Refusal.REQUEST


async def test_no_server_is_an_unavailable_provider():
    """The text names no address."""
    with pytest.raises(ProviderUnavailable, match="Yahoo Finance cannot be reached"):
        await fetch("http://127.0.0.1:9", "/")

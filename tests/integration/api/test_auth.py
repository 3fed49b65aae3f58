"""What does not pass: no token, a wrong one, too much, and what nobody should ask."""

import asyncio
import contextlib
import json

import pytest

from ray_pipeline.api.auth import BODY_LIMIT_BYTES, URL_LIMIT_BYTES
from ray_pipeline.api.connections import HEAD_LIMIT_BYTES, MAX_WAITING, REQUEST_S
from ray_pipeline.api.parameters import MAX_SYMBOLS
from tests.integration.api.serving import TOKEN, configure, serving, trade, writing
from tests.integration.api.test_api import every_path

LATEST = "/v1/feeds/sp500/latest/"
HOSTILE = {
    "traversal": "..%2f..%2fetc%2fpasswd",
    "sql": "AAPL'%3B%20DROP%20TABLE%20gaps%3B--",
    "nul": "AA%00PL",
    "newline": "AAPL%0d%0aX-Evil:%201",
    "unicode": "%EC%82%BC%EC%84%B1",
    "half-a-surrogate": "%ED%A0%80",
    "not-utf8": "%FF%FE",
    "right-to-left": "%E2%80%AELPAA",
    "glob": "*",
    "braces": "%7B0.__class__%7D",
    "lower-case": "aapl",
    "much": "A" * 4_000,
}
MALFORMED = [
    "history/AAPL?limit=0",
    "history/AAPL?limit=5001",
    "history/AAPL?limit=1e3",
    "history/AAPL?limit=",
    "history/AAPL?limit=99999999999999999999999",
    "history/AAPL?order=sideways",
    "history/AAPL?after=yesterday",
    "history/AAPL?after=%00",
    "history/AAPL?after=99999-01-01",
    "history/AAPL?after=W10",
    "history/AAPL?after=WzEsMiwzLDQsNV0",
    "history/AAPL?after=" + "A" * 600,
    "bars/AAPL?interval=2m",
    "bars/AAPL?after=eyJhIjoxfQ",
    "latest?symbols=AAPL,,MSFT",
    "latest?symbols=a%27b",
    "latest?symbols=" + ",".join(f"S{number}" for number in range(MAX_SYMBOLS + 1)),
]


async def test_everything_but_live_and_the_page_needs_the_token(configured):
    """No token, a wrong one, a part of it, more than it, another scheme, or the one in the URL."""
    offers = [
        {}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"}, {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Basic {TOKEN}"}, {"Authorization": TOKEN},
        {"Authorization": "Bearer \u00e9"}, {"Authorization": "Bearer " + "x" * 7_000},
    ]  # fmt: skip
    async with serving(configured) as client:
        paths = [*await every_path(client), "/openapi.json", "/nope"]
        paths.remove("/live")
        for offer in offers:
            assert await client.status("/v1/runs", headers=offer) == 401, offer
        for path in paths:
            status, body, headers = await client.ask(path, headers={})
            assert status == 401, path
            assert headers["WWW-Authenticate"] == "Bearer"
            assert json.loads(body)["fix"]
            assert await client.status(f"{path}?token={TOKEN}", headers={}) == 401, path
        assert await client.status("/live", headers={}) == 200
        assert await client.status("/v1/runs", headers={}, method="HEAD") == 401


async def test_only_reading_is_allowed(configured):
    """Nothing here can be changed; other methods are refused, also with the token."""
    async with serving(configured) as client:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            for path in ("/v1/runs", f"{LATEST}AAPL", "/live", "/v1/quotas"):
                assert await client.status(path, method=method) == 405, (method, path)


async def test_an_url_or_a_body_that_is_too_large_is_refused(configured):
    """Before anything reads it; a body without a length is not read at all."""

    async def endless():
        yield b"x"

    async with serving(configured) as client:
        assert await client.status(f"{LATEST}{'A' * 10_000}") == 414
        assert await client.status(f"/v1/runs?x={'y' * URL_LIMIT_BYTES}") == 414
        assert await client.status(f"/live?x={'y' * URL_LIMIT_BYTES}", headers={}) == 414
        body = b"x" * (BODY_LIMIT_BYTES + 1)
        assert await client.status("/v1/runs", method="POST", data=body) == 413
        assert await client.status("/v1/runs", method="POST", data=endless()) == 411
        assert await client.status("/v1/runs") == 200


async def raw(client, request: bytes) -> bytes:
    """Send bytes that no client library would, and return the answer's first line."""
    host, _, port = client.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            return await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /static/../app.py HTTP/1.1", b"404"),
        (b"GET /static/..%2fapp.py HTTP/1.1", b"404"),
        (b"GET /static/%2e%2e/%2e%2e/settings.py HTTP/1.1", b"404"),
        (b"GET /static//etc/passwd HTTP/1.1", b"404"),
        (b"GET /static/../v1/runs HTTP/1.1", b"404"),
        (b"GET //v1/runs HTTP/1.1", b"401"),
        (b"GET /live/../v1/runs HTTP/1.1", b"401"),
        (b"GET /v1/runs;/live HTTP/1.1", b"401"),
        (b"GET http://elsewhere/v1/runs HTTP/1.1", b"401"),
        (b"GET /v1/runs HTTP/1.1\r\nContent-Length: -1", b"400"),
        (b"GET /v1/runs HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2", b"400"),
        (b"NONSENSE", b"400"),
    ],
    ids=lambda value: value.decode().split("\r\n")[0] if len(value) > 3 else None,
)
async def test_paths_that_lead_elsewhere_lead_nowhere(configured, request_line, status):
    """Whatever way they are written."""
    async with serving(configured) as client:
        line = await raw(client, request_line + b"\r\nHost: x\r\n\r\n")

    assert line.split()[1] == status, line


async def test_connections_without_a_request_keep_nobody_out(configured):
    """The oldest of them makes room; they come before any token."""
    async with serving(configured) as client, contextlib.AsyncExitStack() as stack:
        host, _, port = client.url.removeprefix("http://").partition(":")
        readers = []
        for _ in range(MAX_WAITING + 5):
            reader, writer = await asyncio.open_connection(host, int(port))
            stack.callback(writer.close)
            readers.append(reader)
        for reader in readers[:5]:
            with contextlib.suppress(ConnectionResetError):
                # Sooner than its own deadline would end it.
                assert await asyncio.wait_for(reader.read(), REQUEST_S / 2) == b""
        assert await client.status("/v1/runs") == 200
        assert not readers[-1].at_eof()


async def test_headers_without_an_end_are_not_collected(configured):
    """Memory is what they would take; they come before any token."""
    async with serving(configured) as client:
        endless = b"GET /live HTTP/1.1\r\nX: " + b"y" * 2 * HEAD_LIMIT_BYTES
        assert (await raw(client, endless)).split()[1] == b"400"


@pytest.mark.parametrize("symbol", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_symbol_is_refused_everywhere(configured, symbol):
    """422 or 404 with a reason, in the address and in the list; never 500, never an answer."""
    async with writing(configured) as writer, serving(configured) as client:
        await writer.write(trade(1))
        paths = [f"/v1/feeds/sp500/{what}/{symbol}" for what in ("latest", "history", "bars")] + [
            f"/v1/feeds/sp500/latest?symbols=AAPL,{symbol}",
            f"/v1/feeds/{symbol}/symbols",
        ]
        for path in paths:
            status, body, headers = await client.ask(path)
            assert status in (404, 422), (path, status)
            assert json.loads(body)["error"]
            assert "X-Evil" not in headers
        for path in (f"/v1/gaps?feed={symbol}", f"/v1/runs?job={symbol}"):
            assert await client.status(path) in (404, 422), path
        assert len((await client.get("/v1/feeds/sp500/latest"))["values"]) == 1


@pytest.mark.parametrize("question", MALFORMED, ids=lambda question: question[:40])
async def test_a_malformed_parameter_is_named(configured, question):
    """422, and which parameter it was."""
    async with serving(configured) as client:
        status, body, _ = await client.ask(f"/v1/feeds/sp500/{question}")

    assert status == 422, body
    name = question.partition("?")[2].partition("=")[0]
    assert name in json.loads(body)["error"]


async def test_other_hosts_pages_may_not_ask_unless_named(postgres_dsn, redis_url):
    """CORS is closed by default, and opens for the origins in the settings only."""
    asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "GET"}
    async with serving(configure(postgres_dsn, redis_url)) as client:
        for method in ("GET", "OPTIONS"):
            _, _, headers = await client.ask("/live", method=method, headers=asked)
            assert "Access-Control-Allow-Origin" not in headers

    named = configure(postgres_dsn, redis_url, api={"cors_origins": ["https://page.example"]})
    async with serving(named) as client:
        status, _, headers = await client.ask("/v1/runs", method="OPTIONS", headers=asked)
        assert (status, headers["Access-Control-Allow-Origin"]) == (200, "https://page.example")
        other = asked | {"Origin": "https://other.example"}
        _, _, headers = await client.ask("/v1/runs", method="OPTIONS", headers=other)
        assert "Access-Control-Allow-Origin" not in headers
        _, _, headers = await client.ask("/v1/runs", headers={"Origin": "https://page.example"})
        assert headers["Access-Control-Allow-Origin"] == "https://page.example"


async def test_a_browser_is_told_to_be_careful(configured):
    """On every answer, refusals included."""
    async with serving(configured) as client:
        for path, headers in (("/live", {}), ("/v1/runs", {}), ("/nope", None), ("/", {})):
            _, _, found = await client.ask(path, headers=headers)
            assert "default-src 'self'" in found["Content-Security-Policy"], path
            assert found["X-Content-Type-Options"] == "nosniff"
            assert "Server" not in found

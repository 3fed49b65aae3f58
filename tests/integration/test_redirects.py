"""Servers that redirect: on their own host they are followed, to another one never."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from aiohttp import web

from ray_pipeline.catalog import job
from ray_pipeline.errors import FeedRefused, RedirectRefused
from ray_pipeline.feeds import bithumb, finnhub
from ray_pipeline.jobs.spec import Request
from ray_pipeline.notebook.api_source import HttpSource
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.providers.finnhub import PROVIDER as FINNHUB
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.truth_social import PROVIDER as TRUTH_SOCIAL
from ray_pipeline.providers.wikipedia import PROVIDER as WIKIPEDIA
from ray_pipeline.providers.x import PROVIDER as X
from ray_pipeline.providers.yahoo import PROVIDER as YAHOO
from ray_pipeline.providers.yahoo import YahooSession, yahoo_url
from ray_pipeline.services.job_run import collect
from ray_pipeline.settings import load
from ray_pipeline.storage.provider_clients import Clients
from ray_pipeline.storage.venue_rest import VenueRest
from ray_pipeline.storage.websocket import WebSocket, open_websocket
from tests.fake_feed import EveryCall
from tests.streams import rows

KEY = "planted-key-4711"
PAIR = "somebody@example.com:planted-password"
CODES = (301, 302, 303, 307, 308)
LARGEST_BYTES = 2**20
SLOT = datetime(2026, 11, 2, 6, tzinfo=UTC)


@dataclass
class Server:
    """Answers as told, and keeps what it was asked."""

    answer: Callable[[web.Request], web.StreamResponse]
    url: str = ""
    asked: list[web.Request] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        await request.read()
        if request.headers.get("Upgrade") == "websocket" and request.path == "/there":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_str("hello")
            await socket.close()
            return socket
        return self.answer(request)


@contextlib.asynccontextmanager
async def serving(answer: Callable[[web.Request], web.StreamResponse]) -> AsyncIterator[Server]:
    """A server at a free port."""
    server = Server(answer)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = site.name
    try:
        yield server
    finally:
        await runner.cleanup()


def redirect(location: str, status: int = 302) -> web.Response:
    return web.Response(status=status, headers={"Location": location})


def after_login(
    answer: Callable[[web.Request], web.Response],
) -> Callable[[web.Request], web.Response]:
    """Return an answer that lets a client log in first."""

    def answer_after_login(request: web.Request) -> web.Response:
        if request.path.endswith("/token"):
            return web.json_response({"access_token": "token-of-the-login"})
        return answer(request)

    return answer_after_login


@pytest.fixture
async def other() -> AsyncIterator[Server]:
    """Another host, which would take anything."""
    async with serving(lambda _: web.json_response({"access_token": "t"})) as server:
        yield server


def key_of(provider: Provider) -> str:
    return PAIR if provider.auth == "login" else "" if provider.auth == "none" else KEY


async def ask(provider: Provider, url: str) -> str:
    """Make one call with a key; return the body."""
    request = Request("item", "/here", {"symbol": "AAPL"})
    async with Clients({provider.name: url}) as clients:
        answer = await clients.fetch(
            provider, request, key=key_of(provider), largest_bytes=LARGEST_BYTES
        )
    return answer.text


PROVIDERS = [ALPHA_VANTAGE, FINNHUB, X, WIKIPEDIA, YAHOO, TRUTH_SOCIAL]


@pytest.mark.parametrize("status", CODES)
@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
async def test_no_call_follows_a_redirect_to_another_host(provider, status, other):
    """A key in the query, in a header or in a login must not arrive there; the error says where."""

    def away(request: web.Request) -> web.Response:
        return redirect(f"{other.url}/there?{request.query_string}", status)

    async with serving(away) as server:
        with pytest.raises(RedirectRefused) as refused:
            await ask(provider, server.url)

    assert other.asked == []
    assert len(server.asked) == 1
    text = str(refused.value)
    assert provider.title in text
    assert f"PIPELINE_{provider.name.upper()}__REST_URL" in text
    assert KEY not in text
    assert "planted" not in text


async def test_a_call_after_the_login_does_not_follow_one_either(other):
    """The token is as good as the password."""

    async with serving(after_login(lambda _: redirect(f"{other.url}/there"))) as server:
        with pytest.raises(RedirectRefused):
            await ask(TRUTH_SOCIAL, server.url)

    assert other.asked == []


async def test_the_key_in_the_name_of_the_other_host_is_not_told():
    """A provider may echo it anywhere."""
    async with serving(lambda _: redirect(f"http://{KEY}.example/")) as server:
        with pytest.raises(RedirectRefused) as refused:
            await ask(FINNHUB, server.url)

    assert KEY not in str(refused.value)


@pytest.mark.parametrize("location", ["/there?symbol=AAPL", "there?symbol=AAPL", "//{host}/there"])
@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
async def test_a_redirect_on_the_same_host_is_followed_with_the_key(provider, location):
    """Providers move paths; a key in the query is added again where the redirect left it out."""

    def answer(request: web.Request) -> web.Response:
        if request.path == "/there":
            return web.json_response({"moved": True})
        return redirect(location.format(host=request.host))

    async with serving(after_login(answer)) as server:
        assert await ask(provider, server.url) == '{"moved": true}'

    last = server.asked[-1]
    shown = (last.query.get("apikey"), last.headers.get("X-Finnhub-Token"))
    authorization = last.headers.get("Authorization")
    wanted = {
        "query": (KEY, None, None),
        "header": (None, KEY, None),
        "bearer": (None, None, f"Bearer {KEY}"),
        "login": (None, None, "Bearer token-of-the-login"),
        "none": (None, None, None),
    }
    assert (*shown, authorization) == wanted[provider.auth]


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
async def test_a_server_that_redirects_without_end_is_left(provider):
    """Six calls, not thirty and not for ever."""

    again = after_login(lambda _: redirect(f"/again?n={len(server.asked)}"))
    async with serving(again) as server:
        with pytest.raises(RedirectRefused, match="more than 5 times"):
            await ask(provider, server.url)

    assert len([request for request in server.asked if request.method == "GET"]) == 6


@pytest.mark.parametrize(
    "location", ["http://[", "//\u00e9.example", "http://a:99999/", "mailto:x"]
)
async def test_a_redirect_that_cannot_be_read_is_refused(location):
    """Whatever a provider writes there, the run gets an error that it knows."""
    async with serving(lambda _: redirect(location)) as server:
        with pytest.raises(RedirectRefused):
            await ask(FINNHUB, server.url)


@pytest.mark.parametrize("status", CODES)
async def test_bithumb_is_not_followed_to_another_host(status, other):
    """There is no key, but its answers would be another's."""
    async with serving(lambda _: redirect(f"{other.url}/there", status)) as server:
        with pytest.raises(FeedRefused, match="PIPELINE_BITHUMB__REST_URL"):
            await VenueRest(bithumb.FEED.protocol, server.url, EveryCall()).listing(bithumb.LISTING)

    assert other.asked == []


def open_finnhub(url: str) -> contextlib.AbstractAsyncContextManager[WebSocket]:
    return open_websocket(url, venue="finnhub", frame_limit_bytes=LARGEST_BYTES, key=KEY)


@pytest.mark.parametrize("scheme", ["ws", "http"])
@pytest.mark.parametrize("status", CODES)
async def test_a_websocket_is_not_followed_to_another_host(status, scheme, other):
    """Its key is in the URL, and the library would follow."""
    elsewhere = other.url.replace("http", scheme)

    def away(request: web.Request) -> web.Response:
        return redirect(f"{elsewhere}/there?{request.query_string}", status)

    async with serving(away) as server:
        url = finnhub.url(server.url.replace("http", "ws"), KEY)
        with pytest.raises(FeedRefused) as refused:
            async with open_finnhub(url):
                pass

    assert other.asked == []
    assert KEY not in str(refused.value)
    assert "PIPELINE_FINNHUB__WS_URL" in str(refused.value)


async def test_a_websocket_is_followed_on_the_same_host_with_its_key():
    """Whether the redirect has the key or not."""
    async with serving(lambda _: redirect("/there")) as server:
        url = finnhub.url(server.url.replace("http", "ws"), KEY)
        async with open_finnhub(url) as socket:
            assert await socket.receive() == b"hello"

    assert server.asked[-1].query["token"] == KEY


async def test_the_notebook_shows_its_token_to_no_other_host(other):
    """The API's token opens everything that the API has."""
    async with serving(lambda _: redirect(f"{other.url}/v1/feeds")) as server:
        source = HttpSource(server.url, token=KEY)
        try:
            with pytest.raises(RedirectRefused, match="redirects"):
                await source.open()
        finally:
            await source.close()

    assert other.asked == []


async def test_a_run_goes_to_the_next_source_and_says_why(other, postgres_dsn):
    """FRED moved; Alpha Vantage has the same rows."""
    series = {
        "data": [{"date": "2026-09-01", "value": "320.5"}],
        "unit": "index",
        "name": "Consumer Price Index for all Urban Consumers",
    }
    async with (
        serving(lambda _: redirect(f"{other.url}/there")) as moved,
        serving(lambda _: web.json_response(series)) as good,
    ):
        settings = load(
            postgres={"dsn": postgres_dsn},
            api_keys={"fred": [KEY], "alpha_vantage": [KEY]},
            fred={"rest_url": moved.url},
            alpha_vantage={"rest_url": good.url},
        )
        outcome = await collect(settings, job("cpi"), SLOT)

    assert outcome.sources == ["fred", "alpha_vantage"]
    assert outcome.counts.new == 1
    assert len(moved.asked) == 1
    assert other.asked == []
    ((why,),) = rows(postgres_dsn, "SELECT why FROM job_items WHERE source = 'fred'")
    assert "redirects" in why
    assert "PIPELINE_FRED__REST_URL" in why
    assert KEY not in why


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_session_for_yahoo_follows_to_no_other_host(method, other):
    """It is yfinance that calls it, with redirects allowed."""
    async with serving(lambda _: redirect(f"{other.url}/there")) as server:
        with YahooSession(impersonate="chrome") as session, pytest.raises(RedirectRefused):
            await asyncio.to_thread(
                getattr(session, method.lower()), f"{server.url}/here", allow_redirects=True
            )

    assert len(server.asked) == 1
    assert other.asked == []


@pytest.mark.parametrize(
    "location", ["http://query1.finance.yahoo.com/", "https://yahoo.com.example/", "https://a/"]
)
def test_yahoo_is_followed_to_yahoos_hosts_only(location):
    """Its cookies come from several, so one host would not do."""
    url = "https://query2.finance.yahoo.com/v8/chart"
    assert yahoo_url(url, "https://guce.yahoo.com/consent") == "https://guce.yahoo.com/consent"
    assert yahoo_url(url, "/v9/chart") == "https://query2.finance.yahoo.com/v9/chart"
    with pytest.raises(RedirectRefused):
        yahoo_url(url, location)

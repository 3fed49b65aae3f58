"""A provider receives exactly the calls that the ledger has counted, by its own record."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from ray_pipeline.batch.permits import CallPermits, NotBefore, Permit, PermitBatcher
from ray_pipeline.catalog import job
from ray_pipeline.errors import ProviderUnavailable
from ray_pipeline.providers import yahoo
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import Quota, Window
from ray_pipeline.providers.truth_social import PROVIDER as TRUTH_SOCIAL
from ray_pipeline.providers.yahoo import YahooSession
from ray_pipeline.services.job_run import collect
from ray_pipeline.settings import load
from ray_pipeline.storage.postgres import ledger as ledger_module
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.ledger import Ledger
from ray_pipeline.transport.http import open_http
from tests.streams import rows

SLOT = datetime(2026, 11, 2, 6, tzinfo=UTC)
KEY = "planted-key-4711"
SERIES = '{"observations": [{"date": "2026-09-01", "value": "320.5"}]}'
COUNTED = "SELECT coalesce(sum(calls), 0)::int FROM quota_grants"
LARGEST_BYTES = 2**20


@dataclass
class RawProvider:
    """Reads requests from sockets, counts them, and lets `answer` write to each connection."""

    answer: Callable[[int, asyncio.StreamWriter], Awaitable[bool]]
    arrivals: list[float] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                self.arrivals.append(time.monotonic())
                if not await self.answer(len(self.arrivals), writer):
                    break
        writer.close()


@contextlib.asynccontextmanager
async def provider_of(
    answer: Callable[[int, asyncio.StreamWriter], Awaitable[bool]],
) -> AsyncIterator[RawProvider]:
    """Serve at a free port."""
    provider = RawProvider(answer)
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    provider.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield provider


async def write(writer: asyncio.StreamWriter, body: str, head: str = "200 OK") -> bool:
    """Answer, and keep the connection open."""
    writer.write(f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    await writer.drain()
    return True


@pytest.mark.parametrize("drops", [1, 2, 3])
async def test_a_dropped_connection_is_not_called_again_without_a_permit(drops, postgres_dsn):
    """aiohttp and libcurl repeat such a request by themselves."""

    async def answer(number: int, writer: asyncio.StreamWriter) -> bool:
        return number > drops and await write(writer, SERIES)

    async with provider_of(answer) as provider:
        settings = load(
            postgres={"dsn": postgres_dsn},
            api_keys={"fred": [KEY]},
            fred={"rest_url": provider.url},
            jobs={"speed": 100},
        )
        outcome = await collect(settings, job("cpi"), SLOT)

    assert outcome.state == "succeeded"
    assert len(provider.arrivals) == drops + 1 == outcome.calls
    assert rows(postgres_dsn, COUNTED) == [(drops + 1,)]


@pytest.mark.parametrize("redirects", [2, 9])
async def test_each_redirect_takes_a_permit(redirects, postgres_dsn):
    """A provider counts it like any other request."""

    async def answer(number: int, writer: asyncio.StreamWriter) -> bool:
        if number <= redirects:
            return await write(writer, "", f"302 Found\r\nLocation: /moved/{number}")
        return await write(writer, SERIES)

    async with provider_of(answer) as provider:
        settings = load(
            postgres={"dsn": postgres_dsn},
            api_keys={"fred": [KEY]},
            fred={"rest_url": provider.url},
            jobs={"speed": 100},
        )
        outcome = await collect(settings, job("cpi"), SLOT)

    assert outcome.state == ("succeeded" if redirects == 2 else "refused")
    assert len(provider.arrivals) == outcome.calls == min(redirects + 1, 6)
    assert rows(postgres_dsn, COUNTED) == [(len(provider.arrivals),)]


async def test_a_login_takes_a_permit(postgres_dsn, monkeypatch):
    """And a connection that is dropped after it is not used again."""

    @dataclass
    class Counter:
        started: int = 0

        @contextlib.asynccontextmanager
        async def next_call(self) -> AsyncIterator[None]:
            self.started += 1
            yield

    received: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        received.append(request.path)
        await request.read()
        if request.path.endswith("/token"):
            return web.json_response({"access_token": "token-of-the-login"})
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    counter = Counter()
    try:
        async with TRUTH_SOCIAL.open_client(TRUTH_SOCIAL, site.name) as client:
            with pytest.raises(ProviderUnavailable):
                await client.fetch(
                    "/api", {}, key="a@example.com:password", largest_bytes=LARGEST_BYTES,
                    next_call=counter.next_call,
                )  # fmt: skip
    finally:
        await runner.cleanup()

    assert received == ["/oauth/v2/token", "/api"]
    assert counter.started == 2


async def test_each_request_of_yfinance_takes_a_permit(monkeypatch):
    """It requests a cookie and a crumb, in a thread, and tries again after a refusal."""
    started: list[int] = []

    @contextlib.asynccontextmanager
    async def next_call() -> AsyncIterator[None]:
        started.append(len(received))
        yield

    async def answer(number: int, writer: asyncio.StreamWriter) -> bool:
        if number == 1:
            return await write(writer, "", "302 Found\r\nLocation: /moved")
        return await write(writer, "crumb")

    async with provider_of(answer) as provider:
        received = provider.arrivals

        class FakeYfData:
            def __init__(self, *, session: YahooSession) -> None:
                self.session = session

            def get(self, _url: str, *, params: dict[str, str], timeout: float):
                self.session.get(f"{provider.url}/cookie")
                return self.session.get(f"{provider.url}/data", timeout=timeout)

        monkeypatch.setattr("yfinance.data.YfData", FakeYfData)
        monkeypatch.setattr(yahoo, "yahoo_url", lambda _url, _location: f"{provider.url}/moved")
        client = yahoo.SiteClient(yahoo.PROVIDER)
        found = await client.fetch(
            "/v8", {}, key="", largest_bytes=LARGEST_BYTES, next_call=next_call
        )

    assert found.text == "crumb"
    assert started == [0, 1, 2]  # each permit was taken before its request
    assert len(received) == 3


async def test_no_second_of_the_provider_has_more_calls_than_its_limit(postgres_dsn, monkeypatch):
    """Three limiters on one ledger; calls of any latency that overtake each other."""
    limit, period_s = 3, 0.5
    latency = random.Random(4711)
    quota = Quota((Window(limit, timedelta(seconds=period_s)),))

    async def answer(_number: int, writer: asyncio.StreamWriter) -> bool:
        return await write(writer, "{}")

    async with provider_of(answer) as provider:
        server = Provider("fred", "Test", provider.url, quota, auth="query", auth_name="key")
        monkeypatch.setattr(ledger_module, "all_providers", lambda: (server,))

        async def limiter(calls: int) -> None:
            async with session(postgres_dsn, name="limiter") as connection:
                ledger = Ledger(connection, {"fred": ["k"]})
                turn = asyncio.Lock()

                async def acquire(count: int) -> Permit | NotBefore:
                    async with turn:
                        return await ledger.acquire("fred", job="j", sweep=False, calls=count)

                async def finished(permit: Permit) -> None:
                    async with turn:
                        await ledger.finished(permit.ids)

                permits = PermitBatcher(acquire)

                async def permit_of(_key: str = "") -> Permit:
                    while True:
                        answered = await permits.take()
                        if isinstance(answered, Permit):
                            return answered
                        await asyncio.sleep(answered.wait_s or 0.0)

                async def call() -> None:
                    permit = await permit_of()
                    calls_of_it = CallPermits(
                        permit, another=permit_of, started=lambda: None, finished=finished
                    )

                    @contextlib.asynccontextmanager
                    async def slowly() -> AsyncIterator[None]:
                        async with calls_of_it.next_call():
                            await asyncio.sleep(latency.choice([0.0, 0.0, 0.1, 0.6]))
                            yield

                    async with open_http(server, None) as client:
                        await client.fetch(
                            "/x", {}, key="k", largest_bytes=LARGEST_BYTES, next_call=slowly
                        )

                await asyncio.gather(*(call() for _ in range(calls)))

        await asyncio.gather(*(limiter(6) for _ in range(3)))

    arrivals = provider.arrivals
    assert len(arrivals) == 18
    for first, one_too_many in zip(arrivals, arrivals[limit:], strict=False):
        assert one_too_many - first >= period_s

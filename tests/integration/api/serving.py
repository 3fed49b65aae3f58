"""The API as it is served, and stores that the project's own writers have filled."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import aiohttp
from multidict import CIMultiDictProxy

from ray_pipeline import settings
from ray_pipeline.api.limits import Limits
from ray_pipeline.api.server import server
from ray_pipeline.feeds import codec
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.feeds.records import Record, Ticker, Trade
from ray_pipeline.settings import Settings
from ray_pipeline.storage.postgres.stream_store import StreamStore
from ray_pipeline.storage.redis.latest_cache import CacheLimits, LatestCache
from ray_pipeline.stream.batch import Message
from ray_pipeline.stream.batch_builder import BatchBuilder
from ray_pipeline.stream.cache import LatestValue
from tests.support import eventually

TOKEN = "a-token-for-tests"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
SECRET = "planted-secret-4711"
QUICK = Limits(interval_s=0.05)


def configure(dsn: str, redis_url: str, **sections) -> Settings:
    """Settings of an API whose provider's keys and token must never be seen."""
    return settings.load(
        **{
            "postgres": {"dsn": dsn},
            "redis": {"url": redis_url},
            "api_keys": {"finnhub": [SECRET], "alpha_vantage": [SECRET + "-b"]},
            **sections,
        }
    )


def trade(seq: int, symbol: str = "AAPL", **changes) -> Trade:
    """One trade; a later number happened later, a millisecond each."""
    fields = {
        "symbol": symbol,
        "price": Decimal(10_000 + seq) / 100,
        "volume": Decimal(seq),
        "timestamp_ms": int(time.time() * 1000) - 100_000 + seq,
        "epoch": 1,
        "seq": seq,
        "pod_index": 1,
        "trade_conditions": ["1", "12"],
        "created_at": datetime.now(UTC),
    }
    return Trade(**{**fields, **changes})


def ticker(seq: int, market: str = "KRW-BTC", **changes) -> Ticker:
    """One ticker."""
    fields = {
        "market": market,
        "timestamp_field": int(time.time() * 1000) - 100_000 + seq,
        "epoch": 1,
        "seq": seq,
        "trade_price": Decimal(90_000_000 + seq),
        "trade_volume": Decimal("0.5"),
        "created_at": datetime.now(UTC),
    }
    return Ticker(**{**fields, **changes})


class Writer:
    """What a consumer writes for a feed, without Kafka before it."""

    def __init__(self, configured: Settings, name: str) -> None:
        spec = feed_named(name)
        self._layout = spec.layout
        self._store = StreamStore(configured.postgres_dsn(), spec, self._layout, topic=spec.topic)
        limits = CacheLimits(3600, 100.0, budget_bytes=50_000_000, realtime_keys=60)
        self._cache = LatestCache(configured.redis_url(), spec, limits=limits, writer="test")
        self._builder = BatchBuilder(
            self._layout, future_tolerance_ms=300_000, arrivals={}, newest={}
        )
        self._offset = 0

    async def open(self) -> None:
        await self._store.claim(0, 1)
        await self._store.rewind(0, 1, 0)

    async def close(self) -> None:
        await self._store.close()
        await self._cache.close()

    async def write(self, *records: Record, redis: bool = True) -> None:
        """Store records, in Postgres and, unless told otherwise, in Redis."""
        await self.write_raw(*map(codec.encode, records), redis=redis)

    async def write_raw(self, *values: bytes, redis: bool = True) -> None:
        """Store whatever a topic may hold."""
        now_ms = int(time.time() * 1000)
        messages = [
            Message(0, self._offset + index, now_ms, b"X", value)
            for index, value in enumerate(values)
        ]
        self._offset += len(values)
        batch = self._builder.begin()
        self._builder.extend(batch, messages, now_ms=now_ms)
        self._builder.finish(batch)
        await self._store.put(batch, {0: 1})
        if redis:
            await self._put(list(self._entries(batch.newest)))

    async def write_redis(self, *records: Trade) -> None:
        """Store the values of records, one a symbol, in Redis only: as fast as that can be."""
        await self._put(
            [
                LatestValue(
                    self._layout.symbol(one), self._layout.event_ms(one), self._layout.value(one)
                )
                for one in sorted(records, key=self._layout.symbol)
            ]
        )

    async def _put(self, values: list[LatestValue]) -> None:
        if await self._cache.write(values, complete_until_s=0.0) is None:
            await self._cache.begin_rebuild()
            assert await self._cache.write(values, complete_until_s=0.0)

    def _entries(self, newest) -> Iterable[LatestValue]:
        for (symbol, _), record in sorted(newest.items()):
            yield LatestValue(symbol, self._layout.event_ms(record), self._layout.value(record))


@contextlib.asynccontextmanager
async def writing(configured: Settings, name: str = "sp500") -> AsyncIterator[Writer]:
    """A writer of a feed."""
    writer = Writer(configured, name)
    await writer.open()
    try:
        yield writer
    finally:
        await writer.close()


class Client:
    """Asks one server, with the token unless told otherwise."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    @property
    def ws_url(self) -> str:
        return self.url.replace("http:", "ws:")

    async def ask(
        self, path: str, *, headers: dict[str, str] | None = HEADERS, method: str = "GET", **more
    ) -> tuple[int, bytes, CIMultiDictProxy[str]]:
        """Return status, body and headers of an answer."""
        target = path if path.startswith("http") else self.url + path
        async with self.session.request(method, target, headers=headers, **more) as reply:
            return reply.status, await reply.read(), reply.headers

    async def status(self, path: str, **more) -> int:
        return (await self.ask(path, **more))[0]

    async def get(self, path: str) -> dict:
        """Return a good answer's JSON; numbers exact."""
        status, body, _ = await self.ask(path)
        assert status == 200, (path, status, body[:500])
        return json.loads(body, parse_float=Decimal)


@contextlib.asynccontextmanager
async def serving(
    configured: Settings, *, limits: Limits = QUICK, token: str = TOKEN, port: int = 0
) -> AsyncIterator[Client]:
    """The API in this process, at a free port unless told otherwise, and a client."""
    listener = socket.create_server(("127.0.0.1", port))
    port = listener.getsockname()[1]
    running = server(configured, token=token, limits=limits)
    task = asyncio.create_task(running.serve(sockets=[listener]))
    try:
        await eventually(lambda: running.started or task.done(), what="the server")
        async with aiohttp.ClientSession() as session:
            yield Client(session, f"http://127.0.0.1:{port}")
    finally:
        running.should_exit = True
        await asyncio.wait_for(task, 60)
        listener.close()


def quick(**changes) -> Limits:
    """Limits for tests, with changes."""
    return replace(QUICK, **changes)

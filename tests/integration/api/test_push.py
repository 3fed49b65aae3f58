"""The push: a WebSocket client says what it wants and hears what changes."""

import asyncio
import contextlib
import json
import socket
from decimal import Decimal

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ray_pipeline.api.auth import URL_LIMIT_BYTES
from ray_pipeline.api.limits import Limits
from tests.integration.api.serving import (
    HEADERS,
    TOKEN,
    configure,
    quick,
    serving,
    ticker,
    trade,
    writing,
)
from tests.support import eventually

WAIT_S = 15.0


class Listener:
    """A client that keeps what it hears."""

    def __init__(self, wire: ClientConnection) -> None:
        self.wire = wire
        self.heard: list[dict] = []

    async def say(self, **message) -> None:
        await self.wire.send(json.dumps(message))

    async def hear(self) -> dict:
        """Return the next message."""
        async with asyncio.timeout(WAIT_S):
            text = await self.wire.recv()
        self.heard.append(json.loads(text, parse_float=Decimal))
        return self.heard[-1]

    async def until(self, kind: str) -> dict:
        """Return the next message of a kind."""
        while (message := await self.hear())["type"] != kind:
            pass
        return message

    async def prices(self, *symbols: str) -> dict[str, Decimal]:
        """Return the first prices heard of all these symbols."""
        found: dict[str, Decimal] = {}
        while not found.keys() >= set(symbols):
            message = await self.until("values")
            found |= {one["symbol"]: one["price"] for one in message["values"]}
        return found

    async def farewell(self) -> tuple[int, str]:
        """Return the code and the reason with which the server ends it."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.hear()
        code = self.wire.close_code
        assert code is not None, "still open"
        return code, self.wire.close_reason or ""


@contextlib.asynccontextmanager
async def listening(client, feed: str = "sp500", headers=HEADERS, query: str = "", **options):
    """A client that has shown its token."""
    async with connect(
        f"{client.ws_url}/ws/{feed}{query}", additional_headers=headers, **options
    ) as wire:
        yield Listener(wire)


async def test_a_client_hears_what_it_asked_for_and_nothing_else(configured):
    """First what is there, then what changes; exact numbers, of its symbols only."""
    async with writing(configured) as writer, serving(configured) as client:
        await writer.write(trade(1, price=Decimal("129.575")), trade(2, "MSFT"))
        async with listening(client) as one:
            hello = await one.hear()
            await one.say(subscribe=["AAPL"])
            assert await one.hear() == {"type": "subscribed", "symbols": 1}
            first = await one.prices("AAPL")
            await writer.write(trade(3, price=Decimal("129.6")), trade(4, "MSFT"))
            second = await one.prices("AAPL")

    assert (hello["type"], hello["feed"]) == ("hello", "sp500")
    assert first == {"AAPL": Decimal("129.575")}
    assert second == {"AAPL": Decimal("129.6")}


@pytest.mark.parametrize("feed", ["sp500", "bithumb", "top_gainers"])
async def test_every_feed_is_pushed_as_the_route_of_latest_values_has_it(configured, feed):
    """One form of a value, wherever it is read."""
    make, symbol = (ticker, "KRW-BTC") if feed == "bithumb" else (trade, "AAPL")
    async with writing(configured, feed) as writer, serving(configured) as client:
        await writer.write(make(1, symbol))
        async with listening(client, feed) as one:
            await one.say(subscribe=[symbol])
            pushed = await one.until("values")
        assert pushed["values"] == [await client.get(f"/v1/feeds/{feed}/latest/{symbol}")]
        assert pushed["feed"] == feed


async def test_what_is_no_longer_wanted_is_not_heard(configured):
    """Unsubscribing is of the difference; the rest stays."""
    async with (
        writing(configured) as writer,
        serving(configured) as client,
        listening(client) as one,
    ):
        await one.say(subscribe=["AAPL", "MSFT"])
        await writer.write(trade(1), trade(2, "MSFT"))
        await one.prices("AAPL", "MSFT")
        await one.say(unsubscribe=["AAPL"])
        assert (await one.until("subscribed"))["symbols"] == 1
        await writer.write(trade(3), trade(4, "MSFT"))
        assert (await one.prices("MSFT")).keys() == {"MSFT"}


async def test_values_are_coalesced_to_the_newest(configured):
    """Of a hundred changes within an interval a client hears few, and in the end the last."""
    async with (
        writing(configured) as writer,
        serving(configured, limits=quick(interval_s=0.5)) as client,
        listening(client) as one,
    ):
        await one.say(subscribe=["AAPL"])
        for seq in range(1, 101):
            await writer.write(trade(seq))
        while (await one.prices("AAPL"))["AAPL"] != Decimal("101"):
            pass
        heard = [message for message in one.heard if message["type"] == "values"]

    assert all(len(message["values"]) == 1 for message in heard)
    times = [message["values"][0]["event_time_ms"] for message in heard]
    assert times == sorted(set(times))
    assert len(heard) < 50


async def test_silence_is_broken_by_heartbeats(configured):
    """A client can tell a quiet market from a dead connection."""
    async with (
        serving(configured, limits=quick(heartbeat_s=0.1)) as client,
        listening(client) as one,
    ):
        for _ in range(3):
            await one.until("heartbeat")


async def test_heartbeats_come_also_between_values(configured):
    """The promise is one message in so long a time, whatever it is."""
    async with (
        writing(configured) as writer,
        serving(configured, limits=quick(heartbeat_s=0.2)) as client,
        listening(client) as one,
    ):
        await one.say(subscribe=["AAPL"])
        await writer.write(trade(1))
        await one.prices("AAPL")
        await one.until("heartbeat")


async def test_the_token_may_come_in_the_header_the_address_or_the_first_message(configured):
    """A browser can only do the latter two."""
    async with serving(configured) as client:
        async with listening(client) as one:
            assert (await one.hear())["type"] == "hello"
        async with listening(client, headers={}, query=f"?token={TOKEN}") as one:
            assert (await one.hear())["type"] == "hello"
        async with listening(client, headers={}) as one:
            await one.say(token=TOKEN, subscribe=["AAPL"])
            assert (await one.hear())["type"] == "hello"
            assert (await one.hear())["type"] == "subscribed"


@pytest.mark.parametrize("feed", ["sp500", "nope"])
@pytest.mark.parametrize(
    "first",
    [{"token": "wrong"}, {"token": ""}, {"subscribe": ["AAPL"]}, {"nonsense": 1}, None],
    ids=["wrong", "empty", "none", "nonsense", "silent"],
)
async def test_without_the_token_nothing_is_heard(configured, first, feed):
    """
    The client is told why, and never a value; silence counts as no token.

    Nor does it hear which feeds there are.
    """
    async with (
        writing(configured) as writer,
        serving(configured, limits=quick(token_s=0.3)) as client,
    ):
        await writer.write(trade(1))
        async with listening(client, feed, headers={}) as one:
            if first is not None:
                await one.say(**first)
            assert await one.farewell() == (1008, "a valid token is needed")
        assert one.heard == []


@pytest.mark.parametrize("feed", ["sp500", "nope"])
@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"Authorization": "Bearer wrong"}, ""),
        ({"Authorization": "Bearer wrong"}, f"?token={TOKEN}"),
        ({}, "?token=wrong"),
    ],
    ids=["header", "header-first", "address"],
)
async def test_a_wrong_token_is_refused_before_the_handshake(configured, headers, query, feed):
    """It costs the server a response, and no WebSocket."""
    assert await _refusal(configured, f"{feed}{query}", headers) == 403


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?x=" + "y" * 2 * URL_LIMIT_BYTES, {}),
        ("", {f"X-{number}": "x" for number in range(200)}),
        ("", {"X": "y" * 20_000}),
    ],
    ids=["address", "headers", "header"],
)
async def test_a_handshake_that_is_too_large_is_refused_at_once(configured, query, headers):
    """Its connection would wait for ever."""
    assert await _refusal(configured, f"sp500{query}", headers) == 400


async def _refusal(configured, path: str, headers: dict[str, str]) -> int:
    async with serving(configured) as client:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{client.ws_url}/ws/{path}", additional_headers=headers)
    return refused.value.response.status_code


@contextlib.asynccontextmanager
async def silent_sockets(client, count: int):
    """Sockets without a token, each opened when the one before it was accepted."""
    async with contextlib.AsyncExitStack() as stack:
        url = f"{client.ws_url}/ws/sp500"
        yield [
            await stack.enter_async_context(connect(url, ping_interval=None, close_timeout=0.1))
            for _ in range(count)
        ]


async def test_sockets_without_a_token_are_no_clients(configured):
    """More of them than clients may come: who shows the token, in either way, is served."""
    limits = quick(clients=2, unauthenticated=10, token_s=60)
    async with (
        writing(configured) as writer,
        serving(configured, limits=limits) as client,
        silent_sockets(client, 5),
    ):
        await writer.write(trade(1))
        async with listening(client) as one, listening(client, headers={}) as two:
            await one.say(subscribe=["AAPL"])
            await two.say(token=TOKEN, subscribe=["AAPL"])
            for listener in (one, two):
                assert (await listener.hear())["type"] == "hello"
                assert await listener.prices("AAPL") == {"AAPL": Decimal("100.01")}
            assert (await client.get("/v1/health"))["clients"] == 2


async def test_a_flood_of_silent_sockets_keeps_nobody_out(configured):
    """The oldest of them makes room; a client that shows the token stays where it is."""
    limits = quick(unauthenticated=3, token_s=60)
    async with serving(configured, limits=limits) as client, listening(client) as early:
        assert (await early.hear())["type"] == "hello"
        async with silent_sockets(client, 30) as silent:
            for socket in silent[:27]:
                await asyncio.wait_for(socket.wait_closed(), WAIT_S)
            assert [socket.close_code for socket in silent[-3:]] == [None] * 3
            async with listening(client, headers={}) as late:
                await late.say(token=TOKEN, subscribe=["AAPL"])
                assert (await late.hear())["type"] == "hello"
        await early.say(subscribe=["AAPL"])
        assert (await early.until("subscribed"))["symbols"] == 1


async def test_who_shows_no_token_is_told_so_only_while_few_do(configured):
    """A farewell keeps the connection for seconds, if the other side wants that."""
    limits = quick(refusals_burst=2, refusals_per_s=0.001)
    async with serving(configured, limits=limits) as client:
        codes = []
        for _ in range(4):
            async with listening(client, headers={}) as one:
                await one.say(token="wrong")
                codes.append((await one.farewell())[0])

    assert codes == [1008, 1008, 1006, 1006]


async def test_there_is_no_such_feed(configured):
    """It is said, and so it is of any other path."""
    async with serving(configured) as client:
        for feed in ("nope", "%00", "A" * 4_000):
            async with listening(client, feed) as one:
                assert await one.farewell() == (1008, "no such feed")
        for feed in ("", "..%2fsp500", "sp500/more", "../v1/runs"):
            with pytest.raises(InvalidStatus):
                await connect(f"{client.ws_url}/ws/{feed}", additional_headers=HEADERS)


@pytest.mark.parametrize(
    "message",
    [
        "rubbish",
        "[]",
        "{}x",
        '{"subscribe": "AAPL"}',
        '{"subscribe": [1]}',
        '{"subscribe": ["A\\u0000"]}',
        '{"subscribe": ["\'; DROP TABLE gaps;--"]}',
        '{"subscribe": ["삼성"]}',
        '{"subscribe": [""]}',
        '{"subscribe": ["' + "A" * 10_000 + '"]}',
        '{"shutdown": true}',
        "[" * 10_000,
        b"\xff\xfe",
        json.dumps({"subscribe": [f"S{number}" for number in range(Limits().symbols + 1)]}),
    ],
    ids=lambda message: repr(message[:30]),
)
async def test_a_message_that_means_nothing_is_answered_and_survived(configured, message):
    """What was wrong is said; the conversation and the server go on."""
    async with writing(configured) as writer, serving(configured) as client:
        await writer.write(trade(1))
        async with listening(client) as one:
            await one.wire.send(message)
            assert (await one.until("error"))["error"]
            await one.say(subscribe=["AAPL"])
            await one.prices("AAPL")


async def test_a_message_that_is_too_large_ends_it(configured):
    """With the code that WebSocket has for it."""
    async with serving(configured) as client, listening(client) as one:
        await one.hear()
        await one.wire.send("x" * 20_000)
        code, _ = await one.farewell()

    assert code == 1009


async def test_a_flood_is_ended_with_its_reason(configured):
    """Messages past the allowance cost nothing but the conversation."""
    async with (
        serving(configured, limits=quick(messages_burst=20)) as client,
        listening(client) as one,
        listening(client) as other,
    ):
        with contextlib.suppress(ConnectionClosed):
            for _ in range(200):
                await one.say(subscribe=["AAPL"])
        assert await one.farewell() == (1008, "more than 10 messages a second")
        await other.say(subscribe=["AAPL"])
        await other.until("subscribed")


async def test_one_client_too_many_is_told_so(configured):
    """It may come when another has gone."""
    async with serving(configured, limits=quick(clients=2)) as client:
        async with listening(client) as one, listening(client) as two:
            await one.hear()
            await two.hear()
            async with listening(client) as three:
                assert await three.farewell() == (1013, "too many clients; try again later")
        await eventually(lambda: _nobody(client), what="both to be forgotten")
        async with listening(client) as again:
            assert (await again.hear())["type"] == "hello"


async def _nobody(client) -> bool:
    return (await client.get("/v1/health"))["clients"] == 0


async def test_a_client_that_does_not_read_is_let_go_and_others_hear_on(configured, caplog):
    """One that looks up in time finds the reason; one that never does is dropped all the same."""
    caplog.set_level("INFO", "ray_pipeline.api.socket")
    symbols = [f"S{number}" for number in range(500)]
    price = Decimal(0)
    async with (
        writing(configured) as writer,
        serving(configured, limits=quick(slow_s=0.5, interval_s=0.02, close_s=3.0)) as client,
        listening(client) as good,
        not_reading(client) as slow,
        not_reading(client) as dead,
    ):
        await good.say(subscribe=["S1"])
        for one in (slow, dead):
            await one.say(subscribe=symbols)
        while caplog.text.count("is let go: too slow") < 2:
            price += 1
            await writer.write_redis(
                *[trade(number, symbol, price=price) for number, symbol in enumerate(symbols)]
            )
            assert price < 2_000, "they were never let go"
        assert await slow.farewell() == (1013, "too slow: nothing was read for 0.5 s")
        await eventually(lambda: _alone(client), what="the dead one to be forgotten")
        await writer.write_redis(trade(1000, "S1", price=Decimal("9100")))
        while (await good.prices("S1"))["S1"] != Decimal("9100"):
            pass


@contextlib.asynccontextmanager
async def not_reading(client):
    """A client whose machine takes little in that it does not ask for."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect(_address(client))
    narrow.setblocking(False)
    async with listening(client, sock=narrow, max_queue=1, ping_interval=None) as one:
        yield one


async def _alone(client) -> bool:
    return (await client.get("/v1/health"))["clients"] == 1


def _address(client) -> tuple[str, int]:
    host, _, port = client.url.removeprefix("http://").partition(":")
    return host, int(port)


async def test_an_outage_of_redis_is_told_and_survived(own_postgres, own_redis):
    """The conversation stays; a status says so, and values come again."""
    configured = configure(own_postgres.dsn, own_redis.url)
    async with writing(configured) as writer, serving(configured) as client:
        async with listening(client) as one:
            await one.say(subscribe=["AAPL"])
            await writer.write(trade(1))
            await one.prices("AAPL")

            await asyncio.to_thread(own_redis.stop)
            said = await one.until("status")
            assert said["redis"] == "away"
            assert said["why"]
            async with listening(client) as late:
                await late.hear()
                assert (await late.hear())["redis"] == "away"

            await asyncio.to_thread(own_redis.start)
            assert (await one.until("status"))["redis"] == "ok"
        async with (
            writing(configured, "top_gainers") as fresh,
            listening(client, "top_gainers") as one,
        ):
            await one.say(subscribe=["AAPL"])
            await fresh.write(trade(1))
            await one.prices("AAPL")


async def test_a_server_that_ends_says_so(configured):
    """Clients come back at once instead of waiting for a heartbeat that never comes."""
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(serving(configured))
        async with connect(f"{client.ws_url}/ws/sp500", additional_headers=HEADERS) as wire:
            one = Listener(wire)
            await one.hear()
            ending = asyncio.create_task(stack.aclose())
            code, _ = await one.farewell()
            await ending

    assert code in (1001, 1012)

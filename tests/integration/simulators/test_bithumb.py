"""Bithumb's simulator over real sockets and HTTP: the protocol, and each fault on request."""

import asyncio
import contextlib
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import msgspec
import pytest

from ray_pipeline.errors import FeedRefused
from ray_pipeline.feeds import bithumb
from ray_pipeline.feeds.protocol import Arrival, RefusedPart
from ray_pipeline.feeds.records import to_ms
from ray_pipeline.simulators.base import Stats
from ray_pipeline.simulators.bithumb import MOST_CODES, BithumbOptions, BithumbSimulator
from ray_pipeline.storage.venue_rest import VenueRest
from tests.fake_feed import EveryCall
from tests.integration.simulators.clients import Client, ask, connected, refusal, stats
from tests.support import eventually

MARKETS = ("KRW-BTC", "KRW-ETH")


@contextlib.asynccontextmanager
async def serving(*markets: str, **options):
    """A simulator and one client that subscribed to some markets and has their snapshots."""
    async with (
        BithumbSimulator(BithumbOptions(**options)) as simulator,
        connected(simulator.ws_url) as client,
    ):
        if markets:
            await client.say(bithumb.subscribe("test", markets))
            await eventually(
                lambda: [list(one.symbols) for one in simulator.connections] == [list(markets)],
                what=f"the subscription to {markets}",
            )
        yield simulator, client


async def more(simulator: BithumbSimulator, count: int = 50) -> Stats:
    """Wait until so many more tickers were sent."""
    goal = simulator.stats().sent + count
    await eventually(lambda: simulator.stats().sent >= goal, what=f"{count} more tickers")
    return simulator.stats()


async def get(simulator: BithumbSimulator, path: str, **params: str) -> tuple[int, Any]:
    """Return the status and the answer of the REST API."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(simulator.rest_url + path, params=params) as answer,
    ):
        body = await answer.text()
        return answer.status, json.loads(body) if body.startswith(("[", "{")) else body


def tickers(client: Client) -> list[dict[str, Any]]:
    return client.messages("ticker")


# The protocol --------------------------------------------------------------------------------


async def test_a_snapshot_of_each_market_comes_first_and_then_what_changes():
    async with serving(*MARKETS, rate=500) as (simulator, client):
        await more(simulator)
        await eventually(lambda: len(tickers(client)) > 20, what="tickers")

        first, second, *rest = tickers(client)

    assert [(one["code"], one["stream_type"]) for one in (first, second)] == [
        (market, "SNAPSHOT") for market in MARKETS
    ]
    assert {one["stream_type"] for one in rest} == {"REALTIME"}
    assert {type(frame) for frame in client.frames} == {bytes}


async def test_a_new_subscription_replaces_the_one_before():
    async with serving("KRW-BTC", rate=500) as (simulator, client):
        await client.say(bithumb.subscribe("again", ["KRW-ETH", "KRW-NOBODY"]))
        await eventually(
            lambda: list(simulator.connections[0].symbols) == ["KRW-ETH"], what="the second one"
        )
        before = dict((await more(simulator, 5)).sent_by_symbol)
        after = (await more(simulator, 50)).sent_by_symbol

    assert after["KRW-BTC"] == before["KRW-BTC"]


async def test_a_ping_is_answered():
    async with serving(rate=0) as (_, client):
        await client.say("PING")

        assert json.loads((await client.count(1))[0]) == {"status": "UP"}


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("hello", "WRONG_FORMAT"),
        ({"type": "ticker"}, "WRONG_FORMAT"),
        ([{"type": "ticker", "codes": ["KRW-BTC"]}], "NO_TICKET"),
        ([{"ticket": "t"}], "NO_TYPE"),
        ([{"ticket": "t"}, {"type": "weather", "codes": ["KRW-BTC"]}], "INVALID_PARAM"),
        ([{"ticket": "t"}, {"type": "ticker"}], "NO_CODES"),
    ],
)
async def test_a_bad_request_is_answered_with_its_name_and_the_connection_closed(said, name):
    async with serving(rate=0) as (_, client):
        await client.say(said)

        (frame,) = await client.count(1)
        assert json.loads(frame)["error"]["name"] == name
        assert await client.closed() == 1000
        with pytest.raises(FeedRefused, match=name):
            bithumb.parse_frame(frame)


async def test_connections_have_no_key_so_there_may_be_several():
    async with (
        serving("KRW-BTC", rate=500) as (simulator, first),
        connected(simulator.ws_url) as second,
    ):
        await second.say(bithumb.subscribe("second", ["KRW-ETH"]))
        await eventually(lambda: len(tickers(second)) > 5, what="tickers of the second one")

        assert first.closed_with is None
        assert (await stats(simulator))["connections"] == 2


async def test_the_same_seed_gives_the_same_tickers_and_another_one_others():
    async def collected(seed: int) -> list[tuple]:
        async with serving("KRW-BTC", seed=seed, rate=2_000) as (_, client):
            await eventually(lambda: len(tickers(client)) >= 100, what="a hundred tickers")
            return [(one["trade_price"], one["trade_volume"]) for one in tickers(client)[:100]]

    first = await collected(7)

    assert await collected(7) == first
    assert await collected(8) != first


async def test_the_socket_and_rest_write_times_differently_and_mean_the_same():
    """REST's stamps are nine hours ahead and its dates in UTC; our parser puts both right."""
    async with serving("KRW-BTC", rate=500) as (simulator, client):
        await more(simulator)
        await ask(simulator, "pause")
        sent = simulator.connections[0].last_text
        await eventually(lambda: client.frames[-1].decode() == sent, what="the last ticker")
        _, (answer,) = await get(simulator, "/v1/ticker", markets="KRW-BTC")

        (streamed,) = bithumb.parse_frame(client.frames[-1])
        (asked,) = bithumb.parse_answer(json.dumps([answer]).encode())

    assert asked.timestamp - streamed.timestamp == bithumb.SHIFT_MS
    now = datetime.now(UTC)
    arrival = Arrival(0, "bithumb-00", 1, now, to_ms(now), to_ms(now) + 300_000)
    one, other = (bithumb.ticker(raw, arrival, 1) for raw in (streamed, asked))
    assert (one.stream_type, other.stream_type) == ("REALTIME", "SNAPSHOT")
    assert one == msgspec.structs.replace(other, stream_type="REALTIME")
    moment = datetime.fromtimestamp(one.trade_timestamp / 1000, UTC)
    assert one.trade_date_kst == (moment + timedelta(hours=9)).strftime("%Y%m%d")


# REST ----------------------------------------------------------------------------------------


async def test_the_list_of_markets_is_what_may_be_asked_for():
    async with BithumbSimulator(BithumbOptions(symbols=MARKETS)) as simulator:
        rest = VenueRest(bithumb.FEED.protocol, simulator.rest_url, EveryCall())

        assert [code for code, *_ in await rest.listing(bithumb.LISTING)] == list(MARKETS)
        (answer,) = [events async for events in rest.records(MARKETS)]
        assert [one.market for one in answer] == list(MARKETS)


async def test_one_unknown_code_fails_the_whole_call_under_status_200():
    async with BithumbSimulator(BithumbOptions(symbols=MARKETS)) as simulator:
        status, answer = await get(simulator, "/v1/ticker", markets="KRW-BTC,KRW-NOBODY")

    assert (status, answer["error"]["name"]) == (200, 404)


async def test_too_many_codes_are_refused():
    codes = ",".join(["KRW-BTC"] * (MOST_CODES + 1))
    async with BithumbSimulator(BithumbOptions()) as simulator:
        assert (await get(simulator, "/v1/ticker", markets=codes))[0] == 400


async def test_sockets_and_rest_are_refused_as_often_as_was_asked_for():
    async with BithumbSimulator(BithumbOptions(symbols=MARKETS)) as simulator:
        await ask(simulator, "refuse", status=429, retry_after_s=3, count=2)

        answer = await refusal(simulator.ws_url)
        assert (answer.status, answer.headers["Retry-After"]) == (429, "3")
        assert (await get(simulator, "/v1/ticker", markets="KRW-BTC"))[0] == 429
        assert (await get(simulator, "/v1/ticker", markets="KRW-BTC"))[0] == 200
        async with connected(simulator.ws_url):
            assert (await stats(simulator))["refused"] == 2


# Faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1006, 1011, 1012])
async def test_a_connection_is_closed_with_the_code_that_was_asked_for(code):
    async with serving("KRW-BTC", rate=500) as (simulator, client):
        await client.count(1)

        await ask(simulator, "close", code=code)

        assert await client.closed() == code
        assert simulator.stats().connections == 0


async def test_silence_keeps_the_socket_open():
    """It still answers a ping, so that only the data tells."""
    async with serving("KRW-BTC", rate=500) as (simulator, client):
        await more(simulator)
        await ask(simulator, "silence", on=True)
        sent = simulator.stats().sent
        for _ in range(5):
            await client.say("PING")
        await eventually(
            lambda: sum(b"UP" in frame for frame in client.frames) == 5, what="five answers"
        )
        assert simulator.stats().sent == sent

        await ask(simulator, "silence", on=False)
        await more(simulator)


async def test_a_dropped_market_is_quiet_and_the_others_are_not():
    async with serving(*MARKETS, rate=500) as (simulator, _):
        await more(simulator)
        await ask(simulator, "drop", symbol="KRW-BTC")
        before = dict((await more(simulator, 5)).sent_by_symbol)
        after = dict((await more(simulator, 50)).sent_by_symbol)

    assert after["KRW-BTC"] == before["KRW-BTC"]
    assert after["KRW-ETH"] > before["KRW-ETH"]


async def test_an_ignored_market_is_left_out_of_a_subscription():
    async with serving(rate=500) as (simulator, client):
        await ask(simulator, "ignore_subscribe", symbol="KRW-BTC")
        await client.say(bithumb.subscribe("test", MARKETS))
        await more(simulator, 20)
        assert set(simulator.stats().sent_by_symbol) == {"KRW-ETH"}

        await ask(simulator, "ignore_subscribe", symbol="KRW-BTC", on=False)
        await client.say(bithumb.subscribe("again", MARKETS))
        await eventually(lambda: simulator.stats().sent_by_symbol.get("KRW-BTC"), what="it")


async def fault_frame(kind: str, **values: object) -> bytes:
    """Return the one frame that comes after the snapshot on a quiet connection."""
    async with serving("KRW-BTC", rate=0) as (simulator, client):
        await client.count(1)
        await ask(simulator, "frame", kind=kind, **values)
        return (await client.count(2))[1]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("malformed", "not_json"),
        ("truncated", "not_json"),
        ("wrong_type", "wrong_shape"),
        ("unknown_type", "unknown_type"),
    ],
)
async def test_a_bad_frame_is_bad_in_the_way_that_was_asked_for(kind, reason):
    (refused,) = bithumb.parse_frame(await fault_frame(kind))

    assert isinstance(refused, RefusedPart)
    assert refused.reason == reason


async def test_a_huge_frame_is_as_large_as_was_asked_for():
    assert len(await fault_frame("huge", size_bytes=5_000_000)) > 5_000_000


async def test_a_frame_out_of_order_goes_back_in_time():
    frame = json.loads(await fault_frame("out_of_order"))

    assert frame["timestamp"] < (time.time() - 50) * 1_000


async def test_a_frame_of_the_future_is_a_day_ahead():
    frame = json.loads(await fault_frame("future"))

    assert frame["timestamp"] > (time.time() + 80_000) * 1_000


async def test_a_frame_may_be_of_a_market_that_was_not_subscribed():
    assert json.loads(await fault_frame("unsubscribed"))["code"] == "KRW-NOBODY"


async def test_a_price_may_have_26_digits():
    assert b'"trade_price":123456789012.12345678901234,' in await fault_frame("long_price")


async def test_values_may_be_missing():
    assert json.loads(await fault_frame("null_conditions"))["trade_volume"] is None


async def test_any_text_can_be_sent_as_a_frame():
    assert await fault_frame("raw", text="무엇이든") == "무엇이든".encode()


async def test_a_duplicate_repeats_the_last_frame():
    async with serving("KRW-BTC", rate=0) as (simulator, client):
        await client.count(1)
        await ask(simulator, "frame", kind="duplicate")

        first, second = await client.count(2)

    assert first == second


# Replay --------------------------------------------------------------------------------------


async def test_recorded_frames_are_sent_once_as_they_were_recorded(tmp_path):
    """The markets are those of the recording; no snapshot is put before it."""
    frames = [
        '{"type":"ticker", "code":"KRW-BTC","timestamp":1000,"trade_price":1.50}',
        '{"type":"ticker","code":"KRW-ETH","timestamp":1001,"trade_price":2}',
        '{"type":"ticker","code":"KRW-BTC","timestamp":1',
        '{"type":"ticker","code":"KRW-BTC","timestamp":1002,"trade_price":1}',
    ]
    file = tmp_path / "tickers.jsonl"
    file.write_text("".join(frame + "\n" for frame in frames))
    async with serving(*MARKETS, replay=(file,), speed=0) as (simulator, client):
        got = await client.count(len(frames))
        assert [frame.decode() for frame in got] == frames
        assert (await stats(simulator))["replayed"]
        assert [one["market"] for one in (await get(simulator, "/v1/market/all"))[1]] == [*MARKETS]


async def test_a_simulator_ends_while_it_sends_as_fast_as_it_can():
    """A send that was under way when it was told to end must not make it forget that."""
    async with asyncio.timeout(60):
        for _ in range(5):
            async with serving("KRW-BTC", rate=20_000) as (simulator, _):
                await more(simulator)

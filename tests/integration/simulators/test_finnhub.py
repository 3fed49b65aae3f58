"""Finnhub's simulator over real sockets: the protocol, and each fault on request."""

import contextlib
import json
import time

import pytest

from ray_pipeline.feeds import finnhub
from ray_pipeline.simulators.base import Stats
from ray_pipeline.simulators.finnhub import LONG_PRICE, FinnhubOptions, FinnhubSimulator
from tests.integration.simulators.clients import (
    Client,
    ask,
    connected,
    control,
    refusal,
    stats,
)
from tests.support import eventually

HOUR_S = 3_600.0


@contextlib.asynccontextmanager
async def serving(*symbols: str, key: str = "key", **options):
    """A simulator and one client that subscribed to some symbols."""
    async with (
        FinnhubSimulator(FinnhubOptions(**{"ping_s": HOUR_S, **options})) as simulator,
        connected(finnhub.url(simulator.url, key)) as client,
    ):
        await subscribe(simulator, client, *symbols)
        yield simulator, client


async def subscribe(simulator: FinnhubSimulator, client: Client, *symbols: str) -> None:
    """Subscribe, and wait until the simulator has heard it."""
    for symbol in symbols:
        await client.say(finnhub.subscribe(symbol))
    await eventually(
        lambda: any(set(symbols) <= set(one.symbols) for one in simulator.connections),
        what=f"the subscriptions to {symbols}",
    )


async def more(simulator: FinnhubSimulator, count: int = 50) -> Stats:
    """Wait until so many more trades were sent."""
    goal = simulator.stats().sent + count
    await eventually(lambda: simulator.stats().sent >= goal, what=f"{count} more trades")
    return simulator.stats()


def trades(client: Client) -> list[dict]:
    return [trade for frame in client.messages("trade") for trade in frame["data"]]


# The protocol --------------------------------------------------------------------------------


async def test_trades_of_what_is_subscribed_arrive_as_our_parser_reads_them():
    async with serving("AAPL", "MSFT", rate=500) as (simulator, client):
        await more(simulator, 200)
        await ask(simulator, "pause")
        sent = (await stats(simulator))["sent_by_symbol"]
        await eventually(lambda: len(trades(client)) == sum(sent.values()), what="every trade")

        prints = [one for frame in client.frames for one in finnhub.parse(frame)]

    assert set(sent) == {"AAPL", "MSFT"}
    assert {type(one) for one in prints} == {finnhub.Print}
    assert {one: sum(print_.s == one for print_ in prints) for one in sent} == sent


async def test_a_symbol_that_was_unsubscribed_is_not_sent_any_more():
    async with serving("AAPL", "MSFT", rate=500) as (simulator, client):
        await client.say(finnhub.unsubscribe("AAPL"))
        await eventually(
            lambda: list(simulator.stats().symbols_by_key.values()) == [["MSFT"]],
            what="the one that is left",
        )
        before = dict((await more(simulator, 20)).sent_by_symbol)
        after = (await more(simulator, 100)).sent_by_symbol

    assert after.get("AAPL", 0) == before.get("AAPL", 0)


async def test_a_connection_without_a_key_is_refused():
    async with FinnhubSimulator(FinnhubOptions()) as simulator:
        assert (await refusal(simulator.url)).status == 401


async def test_a_second_connection_with_a_key_ends_the_first():
    """As the provider does; other keys are left alone."""
    async with (
        serving("AAPL", key="one", rate=100) as (simulator, first),
        connected(finnhub.url(simulator.url, "two")) as other,
        connected(finnhub.url(simulator.url, "one")) as second,
    ):
        assert await first.closed() == 1008
        await subscribe(simulator, second, "MSFT")
        await subscribe(simulator, other, "NVDA")
        await eventually(lambda: trades(second) and trades(other), what="trades of both")

        assert other.closed_with is None
        found = await stats(simulator)
    assert (found["connections"], found["accepted"]) == (2, 3)
    assert sorted(found["symbols_by_key"].values()) == [["MSFT"], ["NVDA"]]
    assert "one" not in found["symbols_by_key"]  # a key is never told


@pytest.mark.parametrize(
    ("options", "said", "answer"),
    [
        ({}, "hello", "Invalid message"),
        ({}, '{"type":"subscribe"}', "Invalid message"),
        ({"symbols": ("AAPL",)}, finnhub.subscribe("MSFT"), "Invalid symbol MSFT"),
    ],
)
async def test_what_is_not_understood_is_answered_with_an_error(options, said, answer):
    async with serving(rate=0, **options) as (_, client):
        await client.say(said)

        assert json.loads((await client.count(1))[0]) == {"msg": answer, "type": "error"}


async def test_the_fifty_first_symbol_is_refused_and_the_others_stay():
    symbols = [f"S{number}" for number in range(51)]
    async with serving(*symbols[:50], rate=0) as (simulator, client):
        await client.say(finnhub.subscribe("S0"))  # again: it has its place already
        await client.say(finnhub.subscribe(symbols[50]))

        (frame,) = await client.count(1)

        assert json.loads(frame)["msg"] == "Subscribing to too many symbols"
        assert list(simulator.stats().symbols_by_key.values()) == [symbols[:50]]


async def test_the_same_seed_gives_the_same_trades_and_another_one_others():
    async def collected(seed: int) -> list[tuple]:
        async with serving("AAPL", seed=seed, rate=2_000) as (_, client):
            await eventually(lambda: len(trades(client)) >= 100, what="a hundred trades")
            return [(one["p"], one["v"], one["c"]) for one in trades(client)[:100]]

    first = await collected(7)

    assert await collected(7) == first
    assert await collected(8) != first


# Faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1006, 1011, 1012])
async def test_a_connection_is_closed_with_the_code_that_was_asked_for(code):
    """1006 is no code that can be sent: the line is cut without a word."""
    async with serving("AAPL", rate=500) as (simulator, client):
        await client.count(1)

        await ask(simulator, "close", code=code)

        assert await client.closed() == code
        assert simulator.stats().connections == 0


async def test_only_one_keys_connection_is_closed():
    async with (
        serving("AAPL", key="one", rate=500) as (simulator, first),
        connected(finnhub.url(simulator.url, "two")) as other,
    ):
        await ask(simulator, "close", code=1011, key="one")

        assert await first.closed() == 1011
        await subscribe(simulator, other, "MSFT")
        await other.count(1)


async def test_silence_keeps_the_socket_open_and_the_pings_if_they_are_asked_for():
    async with serving("AAPL", rate=500, ping_s=0.02) as (simulator, client):
        await more(simulator)
        await ask(simulator, "silence", on=True, pings=True)
        pings = simulator.stats().pings
        await eventually(lambda: simulator.stats().pings >= pings + 2, what="pings")
        sent, pings = simulator.stats().sent, simulator.stats().pings
        await eventually(lambda: simulator.stats().pings >= pings + 10, what="more pings")
        assert simulator.stats().sent == sent

        await ask(simulator, "silence", on=False)
        await more(simulator)

    assert client.closed_with is None
    assert client.messages("ping")


async def test_full_silence_ends_the_pings_too():
    """Frames that are asked for one by one come with nothing between them."""
    async with serving("AAPL", rate=500, ping_s=0.001) as (simulator, client):
        await eventually(lambda: client.messages("ping"), what="a ping")
        await ask(simulator, "silence", on=True)
        for number in range(10):
            await ask(simulator, "frame", kind="raw", text=f'{{"type":"{number}"}}')
        await eventually(lambda: client.messages("9"), what="the last frame")

        types = [json.loads(frame)["type"] for frame in client.frames]
        assert types[types.index("0") :] == [str(number) for number in range(10)]
        await ask(simulator, "silence", on=False)
        await more(simulator)


async def test_a_dropped_symbol_is_quiet_and_the_others_are_not():
    async with serving("AAPL", "MSFT", rate=500) as (simulator, _):
        await more(simulator)
        await ask(simulator, "drop", symbol="AAPL")
        before = dict((await more(simulator, 20)).sent_by_symbol)
        after = dict((await more(simulator, 100)).sent_by_symbol)
        assert after["AAPL"] == before["AAPL"]
        assert after["MSFT"] > before["MSFT"]

        await ask(simulator, "drop", symbol="AAPL", on=False)
        await eventually(
            lambda: simulator.stats().sent_by_symbol["AAPL"] > after["AAPL"], what="it again"
        )


async def test_an_ignored_subscription_is_not_heard_until_it_is_asked_again():
    async with serving("MSFT", rate=500) as (simulator, client):
        await ask(simulator, "ignore_subscribe", symbol="AAPL")
        await client.say(finnhub.subscribe("AAPL"))
        await subscribe(simulator, client, "NVDA")  # in order: AAPL was read before it
        assert list(simulator.stats().symbols_by_key.values()) == [["MSFT", "NVDA"]]

        await ask(simulator, "ignore_subscribe", symbol="AAPL", on=False)
        await subscribe(simulator, client, "AAPL")
        await eventually(lambda: simulator.stats().sent_by_symbol.get("AAPL"), what="trades of it")


async def test_connections_are_refused_as_often_as_was_asked_for():
    async with FinnhubSimulator(FinnhubOptions()) as simulator:
        await ask(simulator, "refuse", status=429, retry_after_s=2.5, count=2)
        url = finnhub.url(simulator.url, "key")

        for _ in range(2):
            answer = await refusal(url)
            assert (answer.status, answer.headers["Retry-After"]) == (429, "2.5")
        async with connected(url):
            assert (await stats(simulator))["refused"] == 2


async def test_the_rate_can_be_changed_and_sending_paused():
    async with serving("AAPL", rate=0) as (simulator, _):
        assert simulator.stats().sent == 0
        await ask(simulator, "rate", rate=1_000)
        await more(simulator)

        await ask(simulator, "pause")
        sent = simulator.stats().sent
        await ask(simulator, "frame", kind="malformed")
        assert simulator.stats().sent == sent
        await ask(simulator, "resume")
        await more(simulator)


async def fault_frame(kind: str, **values: object) -> str:
    """Return the one frame that a quiet connection gets."""
    async with serving("AAPL", rate=0) as (simulator, client):
        await ask(simulator, "frame", kind=kind, **values)
        (frame,) = await client.count(1)
        return frame


@pytest.mark.parametrize("kind", ["malformed", "truncated"])
async def test_a_broken_frame_is_no_json(kind):
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(await fault_frame(kind))


async def test_a_huge_frame_is_as_large_as_was_asked_for():
    frame = await fault_frame("huge", size_bytes=5_000_000)

    assert len(frame) > 5_000_000
    assert json.loads(frame)["type"] == "trade"


async def test_a_frame_of_wrong_types_holds_a_good_trade_beside_the_bad_one():
    bad, good = json.loads(await fault_frame("wrong_type"))["data"]

    assert (type(bad["p"]), type(bad["s"]), type(bad["t"])) == (str, int, str)
    assert good["s"] == "AAPL"


async def test_a_frame_of_unknown_type_says_so():
    assert json.loads(await fault_frame("unknown_type"))["type"] == "surprise"


async def test_a_frame_out_of_order_goes_back_in_time():
    first, second = json.loads(await fault_frame("out_of_order"))["data"]

    assert second["t"] == first["t"] - 60_000


async def test_a_frame_of_the_future_is_a_day_ahead():
    (trade,) = json.loads(await fault_frame("future"))["data"]

    assert trade["t"] > (time.time() + 80_000) * 1_000


async def test_a_frame_may_be_of_somebody_who_was_not_subscribed():
    (trade,) = json.loads(await fault_frame("unsubscribed"))["data"]

    assert trade["s"] == "NOBODY"


async def test_a_trade_may_have_no_conditions():
    (trade,) = json.loads(await fault_frame("null_conditions"))["data"]

    assert trade["c"] is None


async def test_a_price_may_have_26_digits():
    assert f'"p":{LONG_PRICE},' in await fault_frame("long_price")


async def test_any_text_can_be_sent_as_a_frame():
    assert await fault_frame("raw", text="anything, even this") == "anything, even this"


async def test_a_duplicate_repeats_the_last_frame():
    async with serving("AAPL", rate=500) as (simulator, client):
        await more(simulator)
        await ask(simulator, "pause")
        last = simulator.connections[0].last_text
        await eventually(lambda: client.frames[-1] == last, what="the last frame")
        count = len(client.frames)

        await ask(simulator, "frame", kind="duplicate")

        assert (await client.count(count + 1))[-2:] == [last, last]


@pytest.mark.parametrize(
    ("action", "body", "status", "told"),
    [
        ("explode", {}, 404, "silence"),
        ("frame", {"kind": "odd"}, 400, "malformed"),
        ("frame", {}, 400, "kind"),
        ("close", {"kode": 1000}, 400, "kode"),
        ("close", [1000], 400, "mapping"),
    ],
)
async def test_a_misspelt_fault_is_answered_with_what_there_is(action, body, status, told):
    async with serving("AAPL", rate=0) as (simulator, _):
        assert await control(simulator, action, body) == (status, {"error": _containing(told)})
        assert simulator.stats().faults == 0


class _containing:  # noqa: N801 - it reads like a word
    """Equal to every text that holds a word."""

    def __init__(self, word: str) -> None:
        self._word = word

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self._word in other

    def __hash__(self) -> int:
        return hash(self._word)


# Replay --------------------------------------------------------------------------------------

FRAMES = [
    '{"data":[{"c":null,"p":1.50,"s":"AAPL","t":1000,"v":1}],"type":"trade"}',
    '{"type":"ping"}',
    '{"data":[ {"c":["1"],"p":2,"s":"MSFT","t":1001,"v":3} ],"type":"trade"}',
    '{"data":[{"p":1.5,"s":',
    '{"data":[{"c":["1"],"p":3,"s":"AAPL","t":1002,"v":5}],"type":"trade"}',
]


@pytest.fixture
def recording(tmp_path):
    file = tmp_path / "frames.jsonl"
    file.write_text("".join(frame + "\n" for frame in FRAMES))
    return file


async def test_recorded_frames_are_sent_once_as_they_were_recorded(recording):
    """From when all symbols are subscribed; nothing is generated beside them."""
    async with serving("AAPL", replay=(recording,), speed=0) as (simulator, client):
        assert simulator.stats().replay_sent == 0
        await subscribe(simulator, client, "MSFT")

        assert await client.count(len(FRAMES)) == FRAMES
        found = await stats(simulator)
        assert found["replayed"]
        assert (found["sent"], found["sent_by_symbol"]) == (3, {"AAPL": 2, "MSFT": 1})


async def test_a_replay_begins_with_fewer_symbols_if_told_so_and_waits_for_each_frames_own(
    recording,
):
    async with serving("AAPL", replay=(recording,), speed=0, wait_symbols=1) as (
        simulator,
        client,
    ):
        await client.count(2)
        assert simulator.stats().replay_sent == 2  # MSFT's frame has no reader yet

        await subscribe(simulator, client, "MSFT")

        assert await client.count(len(FRAMES)) == FRAMES


async def test_a_replays_position_survives_a_new_connection(recording):
    async with serving("AAPL", replay=(recording,), speed=0, wait_symbols=1) as (
        simulator,
        first,
    ):
        await first.count(2)
        await ask(simulator, "close", code=1006)
        await first.closed()
        async with connected(finnhub.url(simulator.url, "key")) as second:
            await subscribe(simulator, second, "AAPL", "MSFT")

            assert await second.count(3) == FRAMES[2:]
            assert first.frames == FRAMES[:2]


async def test_a_trade_file_is_sent_as_frames(tmp_path):
    file = tmp_path / "us_trades_20131007_open_SPY.csv"
    file.write_text("34200000,1674250,100,P,0012,0\n34200500,1674300,200,P,0012,0\n")
    async with serving("SPY", replay=(file,), speed=100) as (_, client):
        await client.count(2)

        assert [(one["s"], one["p"], one["v"]) for one in trades(client)] == [
            ("SPY", 167.425, 100),
            ("SPY", 167.43, 200),
        ]

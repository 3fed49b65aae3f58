"""What waits for a client: one value a symbol, replies first, and a bound on both."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.api.client_queue import CONTROL_LIMIT, ClientQueue, QueueFull, frame


def value(symbol: str, number: int) -> str:
    return json.dumps({"symbol": symbol, "number": number})


@given(
    rounds=st.lists(
        st.dictionaries(st.sampled_from("ABCD"), st.integers(0, 99), min_size=1), max_size=20
    ),
    forgotten=st.sets(st.sampled_from("ABCD")),
)
def test_of_many_values_of_a_symbol_the_newest_waits(rounds, forgotten):
    """However long the client was away, it gets one value a symbol that it still wants."""
    outbox, newest = ClientQueue("f"), {}
    for some in rounds:
        values = {symbol: value(symbol, number) for symbol, number in some.items()}
        outbox.offer(values, frame("f", values))
        newest |= some
    outbox.forget(forgotten)

    sent = json.loads(outbox.values())["values"]

    wanted = {symbol: number for symbol, number in newest.items() if symbol not in forgotten}
    assert {one["symbol"]: one["number"] for one in sent} == wanted
    assert json.loads(outbox.values())["values"] == []


async def test_replies_come_before_values_and_values_not_before_their_time():
    """A client that unsubscribed hears that at once."""
    outbox = ClientQueue("f")
    far_s = asyncio.get_running_loop().time() + 1_000_000
    outbox.offer({"A": value("A", 1)}, "x")
    outbox.say({"type": "subscribed"})

    await asyncio.wait_for(outbox.something(values_at_s=far_s), 60)

    assert outbox.has_control
    assert json.loads(outbox.control()) == {"type": "subscribed"}
    waiting = asyncio.create_task(outbox.something(values_at_s=far_s))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    await outbox.something(values_at_s=0.0)


def test_a_client_that_takes_no_reply_is_found_out():
    """Memory for its replies has an end."""
    outbox = ClientQueue("f")
    for _ in range(CONTROL_LIMIT):
        outbox.say({"type": "error"})
    with pytest.raises(QueueFull):
        outbox.say({"type": "error"})

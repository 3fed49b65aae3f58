"""Finnhub's frames: every frame but a ping, an empty list and a complaint has contents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.feeds.finnhub import Print, parse
from ray_pipeline.feeds.protocol import Complaint, RefusedPart

GOOD = b'{"s":"SPY","p":1.5,"t":1790133513858,"v":1}'


@pytest.mark.parametrize(
    "frame",
    [
        b'{"type":"error","msg":null}',
        b'{"type":"error","msg":["too many"]}',
        b'{"type":"trade","data":[],"msg":1}',
        b'{"type":"news","data":[{"s":"SPY"}]}',
        b'{"type":"news","data":[' + GOOD + b',{"s":"SPY"}]}',
        b'{"type":"trade","data":{"s":"SPY"}}',
        b'{"data":[]}',
        b"[" * 100_000,
        b"",
    ],
)
def test_a_frame_of_the_wrong_shape_is_refused_as_a_whole(frame):
    """No part of it may vanish, and a list of another type holds no trades."""
    (refusal,) = parse(frame)

    assert isinstance(refusal, RefusedPart)
    assert (refusal.reason in {"wrong_shape", "not_json"}, refusal.payload) == (True, frame)


@pytest.mark.parametrize("bad", [b"null", b"7", b'{"s":"SPY"}', b"[" * 50 + b"]" * 50])
def test_a_bad_trade_costs_only_itself(bad):
    first, refusal, last = parse(b'{"type":"trade","data":[' + b",".join([GOOD, bad, GOOD]) + b"]}")

    assert isinstance(first, Print)
    assert first == last
    assert isinstance(refusal, RefusedPart)
    assert refusal.payload == bad


def test_a_complaint_without_a_text_is_a_complaint():
    (complaint,) = parse(b'{"type":"error"}')

    assert complaint == Complaint("no reason given")


TRADE = b'{"s":"SPY","p":1.5,"v":1,"t":1700000000000,"c":["1"]}'
NOT_JSON = [
    rb'{"s":"A\ud800","p":1.5,"t":17}', rb'{"s":"A","p":1,"t":1,"c":["\udc00"]}',
    b'{"s":"A","p":1.2.3,"t":1}', b'{"s":"A","p":NaN,"t":1}', b'{"s":"A" "p":1,"t":1}',
    b'{"s":"\xff\xfe","p":1,"t":1}', b'{"s":"A\x01","p":1,"t":1}', b'{"s":"A","p":tru,"t":1}',
    b'{"s":"A","p":1,"t":1,"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}", b"{'s':1}",
    b'{"s":"A","p":1,"t":1', b'{"s":"A,"p":1,"t":1}', b'"s":"A"}', b"oops", b'"', b"\\", b"[", b"]",
]  # fmt: skip


@pytest.mark.parametrize("bad", NOT_JSON)
@pytest.mark.parametrize("form", [b'{"type":"trade","data":[%b]}', b'{"data":[%b],"type":"trade"}'])
def test_a_trade_that_is_not_json_costs_only_itself(bad, form):
    """Half a surrogate pair, for example, makes the whole frame undecodable."""
    events = parse(form % b",".join([TRADE, bad, TRADE]))

    assert [type(event) for event in (events[0], events[-1])] == [Print, Print]
    refused = events[1:-1]
    assert all(type(event) is RefusedPart for event in refused)
    assert bad in b"".join(event.payload for event in refused)


@given(
    parts=st.lists(st.just(TRADE) | st.sampled_from(NOT_JSON) | st.binary(max_size=20), max_size=8)
)
def test_every_good_trade_is_delivered_and_every_byte_is_kept(parts):
    """Whatever is between the good trades, as long as it opens no brace."""
    parts = [part for part in parts if part == TRADE or not set(part) & set(b"{}[]")]
    frame = b'{"type":"trade","data":[' + b",".join(parts) + b"]}"

    events = parse(frame)

    assert sum(type(event) is Print for event in events) == parts.count(TRADE)
    kept = b"".join(event.payload for event in events if type(event) is RefusedPart)
    for part in parts:
        if part != TRADE:
            assert part.strip(b", \t\r\n") in kept


def test_thousands_of_bad_trades_in_one_frame_are_one_dead_letter():
    """The good trade among them is still delivered."""
    frame = b'{"type":"trade","data":[' + b"{}," * 5_000 + TRADE + b"]}"

    trade, refusal = parse(frame)

    assert (trade.s, refusal.payload) == ("SPY", frame)

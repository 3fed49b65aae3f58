"""Finnhub's frames: every frame but a ping, an empty list and a complaint has contents."""

import pytest

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

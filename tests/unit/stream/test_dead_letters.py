"""A dead letter under a new identity."""

from dataclasses import replace
from decimal import Decimal

import pytest

from ray_pipeline.feeds.codec import Decoder
from ray_pipeline.feeds.records import RecordIdentity, Reject, Trade
from ray_pipeline.stream.dead_letters import (
    DeadLetter,
    readdress,
    replay_shard,
    reservation,
    reserved,
)

LETTER = DeadLetter(
    id=7,
    feed="sp500",
    shard=3,
    key=b"AAPL",
    payload=b'{"symbol":"AAPL","price":129.57500000000000000000001,"volume":null,'
    b'"timestamp_ms":1,"epoch":4,"seq":9,"pod_index":3}',
    reason="stale_epoch",
    detail="",
    resolution="",
)
FRESH = RecordIdentity(1003, 1, 5)
decode = Decoder(Trade).decode


def test_a_record_keeps_its_values_and_gets_the_new_identity():
    trade = decode(readdress(LETTER, FRESH, Trade))

    assert isinstance(trade, Trade)
    assert (trade.pod_index, trade.epoch, trade.seq) == (1003, 1, 5)
    assert trade.price == Decimal("129.57500000000000000000001")


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"\xff\xfe",
        b"[1]",
        b'{"symbol":"AAPL"}',
        b'{"kind":"reject","reason":"x"}',
        b"",
    ],
)
def test_what_is_still_no_record_is_parked_again_under_its_number(payload):
    """Sent as it is, it would arrive without a number, and its number would look lost."""
    reject = decode(readdress(replace(LETTER, payload=payload), FRESH, Trade))

    assert isinstance(reject, Reject)
    assert (reject.pod_index, reject.epoch, reject.seq) == (1003, 1, 5)
    assert reject.reason == "stale_epoch"
    assert reject.size_bytes == len(payload)


def test_a_note_of_the_identity_can_be_read_back():
    assert reserved(reservation(FRESH)) == FRESH
    assert reserved("") is None


def test_letters_of_letters_stay_on_their_shard():
    assert [replay_shard(shard) for shard in (None, 0, 3, 1003)] == [1000, 1000, 1003, 1003]

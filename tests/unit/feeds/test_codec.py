"""Values keep exact numbers, and say which version of the format they have."""

from decimal import Decimal

import msgspec
import pytest

from ray_pipeline.dead_letter_reasons import Reason
from ray_pipeline.errors import BadRecord
from ray_pipeline.feeds.codec import (
    UNDECODABLE,
    Decoder,
    decode_shard_epoch,
    encode,
    renumber,
)
from ray_pipeline.feeds.records import Gap, Record, RecordIdentity, Reject, Ticker, Trade

TRADE = Trade("AAPL", Decimal("5.10"), None, 1_700_000_000_000, epoch=4, seq=9, pod_index=2)
TICKER = Ticker("KRW-BTC", 1_700_000_000_000, epoch=4, seq=9, trade_price=Decimal("1.0"))
GAP = Gap(epoch=4, seq=9, pod_index=2, gap_kind="stalled", cause="no data")
REJECT = Reject(
    epoch=4, seq=9, pod_index=2, reason="not_json", detail="", payload="{", size_bytes=1
)
RECORDS = [TRADE, TICKER, GAP, REJECT]


def decode(value: bytes, record: Record) -> Record:
    """Read a value as its topic's consumer does."""
    decoder = Decoder(Ticker) if isinstance(record, Ticker) else Decoder(Trade)
    return decoder.decode(value)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_comes_back_as_it_was(record):
    """Its value names version 1."""
    value = encode(record)

    assert msgspec.json.decode(value)["v"] == 1
    assert decode(value, record) == record


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_value_without_a_version_is_of_version_1(record):
    """Older generations wrote none."""
    value = encode(record).replace(b'"v":1,', b"").replace(b',"v":1', b"")

    assert b'"v"' not in value
    assert decode(value, record) == record


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
@pytest.mark.parametrize("version", [b"2", b"0", b"-1", b"99999999999999999999999999"])
def test_a_value_of_another_version_is_refused_for_its_version(record, version):
    """Whatever else it holds may mean something else."""
    value = encode(record).replace(b'"v":1', b'"v":' + version)

    with pytest.raises(BadRecord, match="version") as refused:
        decode(value, record)

    assert refused.value.reason == "unknown_version"


def test_a_newer_format_may_lack_every_field_of_the_older_one():
    """The version decides, not the first field that is missing."""
    with pytest.raises(BadRecord) as refused:
        Decoder(Trade).decode(b'{"v":2,"kind":"heartbeat","sym":"AAPL"}')

    assert refused.value.reason == "unknown_version"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", Reason.NOT_JSON),
        (b'{"symbol":"\xff"}', Reason.NOT_UTF8),
        (b"[1]", Reason.WRONG_SHAPE),
        (b'{"v":1}', Reason.WRONG_SHAPE),
        (b'{"v":"1","kind":"gap"}', Reason.WRONG_SHAPE),
        (b'{"v":null}', Reason.WRONG_SHAPE),
        (b"[" * 100_000, Reason.WRONG_SHAPE),
    ],
)
def test_an_undecodable_value_has_a_reason(value, reason):
    """It never raises anything else."""
    with pytest.raises(BadRecord) as refused:
        Decoder(Trade).decode(value)

    assert refused.value.reason == reason


def test_a_renumbered_value_keeps_its_other_fields():
    """Digits, unknown fields and the version stay as they are."""
    value = b'{"v":1,"symbol":"A","price":5.10,"epoch":1,"seq":2,"extra":[1]}'

    assert renumber(value, RecordIdentity(1000, 7, 3)) == (
        b'{"v":1,"symbol":"A","price":5.10,"epoch":7,"seq":3,"extra":[1],"pod_index":1000}'
    )


def test_a_notice_is_not_renumbered():
    """It reports about its own epoch."""
    with pytest.raises(BadRecord):
        renumber(encode(GAP), RecordIdentity(1000, 7, 3))


def test_the_owner_of_a_value_is_read_without_the_rest():
    """A replay of an archive needs no more of it, whatever the version."""
    owner = decode_shard_epoch(b'{"v":2,"pod_index":3,"epoch":8}')

    assert (owner.pod_index, owner.epoch) == (3, 8)
    with pytest.raises(UNDECODABLE):
        decode_shard_epoch(b"{")

"""A message is stored, parked, noted or recognised as a repeat; there is no fifth thing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.feeds import codec
from ray_pipeline.feeds.feed_registry import FEEDS, feed_named
from ray_pipeline.feeds.records import Gap, RecordIdentity, Reject, Ticker, Trade
from ray_pipeline.feeds.sp500 import FEED as SP500
from ray_pipeline.feeds.upbit import UpbitTicker
from ray_pipeline.stream.batch import Message
from ray_pipeline.stream.batch_builder import BatchBuilder
from ray_pipeline.stream.seen_trades import SeenTrades

NOW_MS = 1_795_000_000_000


def trade(seq, **changes):
    fields = {
        "symbol": "AAPL",
        "price": Decimal("129.575"),
        "volume": Decimal(100),
        "timestamp_ms": NOW_MS - 1000,
        "epoch": 1,
        "seq": seq,
        "pod_index": 3,
        "created_at": datetime.fromtimestamp(NOW_MS / 1000, UTC),
    }
    return Trade(**{**fields, **changes})


def message(value, offset=0, partition=0):
    return Message(partition, offset, NOW_MS, b"AAPL", value)


def batch_of(messages, feed=SP500):
    """The batch of messages that are the first of their feed."""
    builder = BatchBuilder(feed.layout, future_tolerance_ms=300_000, arrivals={}, newest={})
    batch = builder.begin()
    builder.extend(batch, messages, now_ms=NOW_MS)
    return builder.finish(batch)


def prepare(*values):
    return batch_of([message(value, offset) for offset, value in enumerate(values)])


def test_a_price_is_stored_as_it_was_written():
    """129.575 stays 129.575, 26 digits stay 26 digits, and a trailing zero stays too."""
    for text in ("129.575", "1234567890.1234567890123456", "5.10"):
        value = codec.encode(trade(1, price=Decimal(text)))
        (item,) = prepare(value).rows
        assert item.line.split("\t")[1] == text


def test_null_conditions_and_volume_are_null():
    """Absent is not zero and not an empty list."""
    (item,) = prepare(codec.encode(trade(1, volume=None, trade_conditions=None))).rows

    assert item.line.split("\t")[2] == "\\N"
    assert item.line.split("\t")[4] == "\\N"


def test_a_trade_of_the_future_is_parked():
    """It would hold the latest value for ever."""
    batch = prepare(codec.encode(trade(1, timestamp_ms=NOW_MS + 300_001)))

    assert [parked.reason for parked in batch.parked] == ["future_dated"]
    assert batch.counts[(3, 1)].parked == 1


def test_what_an_owner_sent_after_it_was_replaced_is_parked():
    """A newer epoch was seen in the partition."""
    batch = prepare(
        codec.encode(trade(1, epoch=2)),
        codec.encode(trade(1, epoch=1)),
        codec.encode(trade(2, epoch=2)),
    )

    assert [(item.record.epoch, item.record.seq) for item in batch.rows] == [(2, 1), (2, 2)]
    assert [(parked.reason, parked.epoch) for parked in batch.parked] == [("stale_epoch", 1)]


def test_notices_are_counted_with_the_data():
    """They have numbers too, so that a hole between them is seen."""
    gap = Gap(epoch=1, seq=1, pod_index=3, gap_kind="disconnected", cause="1006")
    reject = Reject(
        epoch=1, seq=2, pod_index=3, reason="not_json", detail="bad", payload="{", size_bytes=1
    )

    batch = prepare(codec.encode(gap), codec.encode(reject), codec.encode(trade(3)))

    tally = batch.counts[(3, 1)]
    assert (tally.notices, tally.parked, tally.stored) == (1, 1, 1)
    assert tally.ranges == [(1, 4)]


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.integers(1, 6).map(lambda seq: codec.encode(trade(seq))),
            st.just(b"null"),
            st.just(b'{"kind":"gap"}'),
            st.just(b'{"symbol":"A","price":"x"}'),
            st.just(codec.encode(trade(7, symbol="A\tB\\N\n"))),
            st.just(codec.encode(trade(8, price=Decimal("1E+400")))),
            st.just(codec.encode(trade(0))),
            st.just(codec.encode(trade(2**70))),
        ),
        max_size=30,
    )
)
def test_every_message_is_accounted_for_once(values):
    """Whatever comes, the feed goes on and nothing is dropped in silence."""
    batch = prepare(*values)

    assert batch.size == len(values)
    assert batch.next_offsets == ({0: len(values)} if values else {})
    for item in batch.rows:
        assert item.line.count("\n") == 1
        assert item.line.count("\t") == len(SP500.layout.columns) - 1
    tallied = sum(t.stored + t.parked + t.notices for t in batch.counts.values())
    ranged = sum(end - start for t in batch.counts.values() for start, end in t.ranges)
    assert tallied == ranged


def gap(**changes):
    fields = {"epoch": 1, "seq": 1, "pod_index": 3, "gap_kind": "stalled", "cause": "silence"}
    return codec.encode(Gap(**{**fields, **changes}))


FIRST_DAY, LAST_SECOND = (
    datetime(2000, 1, 1, tzinfo=UTC),
    datetime(2027, 12, 31, 23, 59, 59, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("0001-01-01T00:00:00+14:00", FIRST_DAY),
        ("0001-01-01T00:00:00Z", FIRST_DAY),
        ("1999-12-31T23:59:59", FIRST_DAY),
        ("9999-12-31T23:59:59.999999-14:00", LAST_SECOND),
        ("2030-01-01T00:00:00+23:59", LAST_SECOND),
    ],
)
def test_a_gap_out_of_any_range_is_dated_at_its_end_and_says_so(text, stored):
    """Postgres would hold the year 1 BC, and psycopg refuse every page with it."""
    value = gap(from_at=datetime(2026, 1, 5, tzinfo=UTC)).replace(
        b"2026-01-05T00:00:00Z", text.encode()
    )

    ((_, kept),) = prepare(value).gaps
    assert (kept.from_at, kept.to_at) == (stored, None)
    assert kept.cause.startswith("silence (from_at was ")


def test_a_gap_of_our_time_is_kept_as_it_is():
    moment = datetime(2026, 1, 5, 14, 30, tzinfo=timezone(timedelta(hours=9)))
    ((_, kept),) = prepare(gap(from_at=moment, to_at=moment, symbols=["AAPL"])).gaps

    assert (kept.from_at, kept.to_at, kept.cause) == (moment, moment, "silence")


@pytest.mark.parametrize(
    "created_at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z"]
)
def test_a_record_received_out_of_any_range_is_parked(created_at):
    """It says of itself when it was received."""
    value = codec.encode(trade(1, created_at=datetime(2026, 1, 5, tzinfo=UTC)))
    batch = prepare(value.replace(b"2026-01-05T00:00:00Z", created_at.encode()))

    assert [parked.reason for parked in batch.parked] == ["bad_time"]


@pytest.mark.parametrize("timestamp_ms", [-1, -(2**63), 2**63 - 1, 10**15])
def test_a_broker_without_a_clock_stops_nothing(timestamp_ms):
    """Kafka's time is any number that a client sent."""
    value = codec.encode(trade(1, created_at=None))
    batch = batch_of([Message(0, 0, timestamp_ms, b"A", value)])

    assert [parked.reason for parked in batch.parked] == ["bad_time"]


@pytest.mark.parametrize(
    "value",
    [
        gap(cause="CAUSE").replace(b"CAUSE", b"\xed\xa0\x80"),
        gap(cause="CAUSE").replace(b'"CAUSE"', b"[" * 100_000),
        b'{"x":' + b"[" * 100_000,
        b'{"kind":' + b'{"a":' * 100_000,
    ],
    ids=["not-utf8", "deep-notice", "deep", "deep-kind"],
)
def test_what_cannot_be_decoded_is_parked(value):
    """However it cannot."""
    batch = prepare(value)

    assert [parked.reason for parked in batch.parked] in (["not_utf8"], ["wrong_shape"])


@pytest.mark.parametrize("feed", FEEDS, ids=lambda feed: feed.name)
@pytest.mark.parametrize("text", ['"NaN"', '"sNaN"', '"-Infinity"', "1e301"])
@pytest.mark.parametrize("field", ["price", "volume"])
def test_a_price_or_volume_that_is_not_a_number_is_parked(feed, text, field):
    """A NaN has no order: a bar of it and of another price would stop the consumer."""
    good, bad = feed_value(feed, seq=1), feed_value(feed, seq=2, **{field: text})

    batch = batch_of([message(good), message(bad, 1), message(feed_value(feed, seq=3), 2)], feed)

    assert [parked.reason for parked in batch.parked] == ["bad_number"]
    assert len(batch.rows) == 2


@pytest.mark.parametrize("name", ["bithumb", "upbit"])
@pytest.mark.parametrize("text", ['"NaN"', '"Infinity"', "9" * 5_000])
def test_a_rate_that_no_client_can_read_is_parked(name, text):
    """A client that reads all values of a hash at once would lose them all."""
    feed = feed_named(name)

    batch = batch_of([message(feed_value(feed, seq=1, signed_change_rate=text))], feed)

    assert [parked.reason for parked in batch.parked] == ["bad_number"]
    assert batch.newest == {}


def feed_value(feed, *, seq, price="1", volume="1", **fields):
    """Return a value of a feed with numbers that need not be numbers."""
    layout = feed.layout
    columns = {
        layout.symbol_column: '"A"',
        layout.event_column: NOW_MS,
        layout.price_column: price,
        layout.volume_column: volume,
        "epoch": 1,
        "seq": seq,
        **fields,
    }
    return ("{" + ",".join(f'"{name}":{text}' for name, text in columns.items()) + "}").encode()


@pytest.mark.parametrize("seq", [0, -1, 2**62, 2**63, 2**70])
def test_a_number_out_of_range_is_parked_also_in_a_shard_that_is_known(seq):
    """Postgres would refuse the numbers of the whole batch."""
    batch = prepare(codec.encode(trade(1)), codec.encode(trade(seq)), codec.encode(trade(2)))

    assert [parked.reason for parked in batch.parked] == ["bad_identity"]
    assert batch.counts[(3, 1)].ranges == [(1, 3)]


class Broken:
    """A layout with a function that fails for one symbol with an error that nobody expects."""

    def __init__(self, function):
        layout = SP500.layout
        real = getattr(layout, function)

        def fail(record, *args):
            if record.symbol == "BAD":
                raise ZeroDivisionError("a bug")
            return real(record, *args)

        self.layout = replace(layout)
        object.__setattr__(self.layout, function, fail)


@pytest.mark.parametrize("function", ["line", "trade"])
def test_any_exception_parks_the_record_and_the_next_one_is_read(function):
    """Its number counts as arrived, so that it does not become a gap as well."""
    values = [trade(1), trade(2, symbol="BAD"), trade(3)]

    batch = batch_of([message(codec.encode(value), n) for n, value in enumerate(values)],
                     Broken(function))  # fmt: skip

    assert [row.record.seq for row in batch.rows] == [1, 3]
    ((parked),) = batch.parked
    assert (parked.reason, parked.detail, parked.seq) == (
        "unprocessable", "ZeroDivisionError: a bug", 2,
    )  # fmt: skip
    assert batch.counts[(3, 1)].parked == 1
    assert batch.counts[(3, 1)].ranges == [(1, 4)]


def test_a_snapshot_of_a_stored_trade_is_no_row_and_no_volume():
    """Its number is used and counted, so that the audit finds nothing missing."""
    feed = feed_named("bithumb")
    fields = {
        "market": "KRW-BTC", "timestamp_field": NOW_MS - 10, "trade_price": Decimal(5),
        "trade_volume": Decimal(2), "trade_timestamp": NOW_MS - 20,
    }  # fmt: skip
    values = [
        codec.encode(Ticker(epoch=epoch, seq=seq, stream_type=kind, **fields))
        for epoch, seq, kind in ((1, 1, "REALTIME"), (1, 2, "SNAPSHOT"), (2, 1, "SNAPSHOT"))
    ]
    builder = BatchBuilder(
        feed.layout, future_tolerance_ms=0, arrivals={}, newest={}, seen=SeenTrades(feed.layout)
    )
    batch = builder.begin()
    builder.extend(
        batch, [message(value, offset) for offset, value in enumerate(values)], now_ms=NOW_MS
    )
    builder.finish(batch)

    assert len(batch.rows) == 1
    assert [bar.volume for bar in batch.bars.values()] == [2]
    assert batch.redelivered == {0: 2}
    assert batch.size == 3
    counted = {key: (c.stored, c.parked, c.notices) for key, c in batch.counts.items()}
    assert counted == {(0, 1): (1, 0, 1), (0, 2): (0, 0, 1)}


def test_a_batch_says_which_of_its_rows_are_snapshots_of_unconfirmed_trades():
    """And the next batch, of which of them the stream has delivered the trade."""
    feed = feed_named("upbit")
    fields = {"market": "KRW-BTC", "timestamp_ms": NOW_MS, "trade_price": Decimal(5)}
    builder = BatchBuilder(
        feed.layout, future_tolerance_ms=0, arrivals={}, newest={}, seen=SeenTrades(feed.layout)
    )
    changes = []
    for seq, (kind, trade_ms) in enumerate(
        [("SNAPSHOT", 1), ("REALTIME", 2), ("REALTIME", 1), ("SNAPSHOT", 2)], start=1
    ):
        record = UpbitTicker(epoch=3, seq=seq, stream_type=kind, trade_timestamp=trade_ms, **fields)
        batch = builder.begin()
        builder.extend(batch, [message(codec.encode(record), seq)], now_ms=NOW_MS)
        snapshots = builder.finish(batch).snapshots
        changes.append(([*snapshots.added], [*snapshots.settled]))

    first = RecordIdentity(0, 3, 1)
    assert changes == [([first], []), ([], []), ([], [first]), ([], [])]

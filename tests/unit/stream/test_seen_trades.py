"""A snapshot that repeats a trade is recognised; every other ticker is kept."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.feeds.bithumb import FEED as BITHUMB
from ray_pipeline.feeds.records import RecordIdentity, Ticker
from ray_pipeline.feeds.upbit import FEED as UPBIT
from ray_pipeline.feeds.upbit import UpbitTicker
from ray_pipeline.stream.seen_trades import KEPT_TRADES, SeenTrades, TickerTrade

TRADE_MS = 1_700_000_000_000


def ticker(stream_type="SNAPSHOT", *, later_ms=0, **changes):
    fields = {
        "market": "KRW-BTC", "timestamp_field": TRADE_MS + later_ms, "epoch": 1, "seq": 1,
        "trade_timestamp": TRADE_MS, "trade_price": Decimal("1.50"), "trade_volume": Decimal(2),
        "acc_trade_volume": Decimal(10), "stream_type": stream_type,
    }  # fmt: skip
    return Ticker(**{**fields, **changes})


def seen(*records):
    trades = SeenTrades(BITHUMB.layout)
    return trades, [trades.repeats(record) for record in records]


def test_a_snapshot_repeats_a_trade_whatever_its_own_time():
    """The venue dates the snapshot later than the ticker that it repeats."""
    assert seen(ticker("REALTIME"), ticker(later_ms=9_000), ticker())[1] == [False, True, True]


def test_the_spelling_of_a_number_does_not_matter():
    """Postgres and the venue may write 1.5 and 1.50."""
    assert seen(ticker("REALTIME"), ticker(trade_price=Decimal("1.5")))[1] == [False, True]


@pytest.mark.parametrize(
    "changes",
    [
        {"trade_timestamp": TRADE_MS + 1},
        {"trade_price": Decimal("1.51")},
        {"trade_volume": Decimal(3)},
        {"acc_trade_volume": Decimal(12)},
        {"market": "KRW-ETH"},
        {"trade_timestamp": TRADE_MS - 1},
    ],
)
def test_a_snapshot_of_another_trade_is_kept_and_then_repeated(changes):
    """It happened while the connection was down. Distinct trades can share their millisecond."""
    other = ticker(**changes)

    assert seen(ticker("REALTIME"), other, other)[1] == [False, False, True]


def test_the_same_trade_after_midnight_is_a_repeat():
    """The total of the day restarts, the trade is yesterday's."""
    assert seen(ticker("REALTIME"), ticker(acc_trade_volume=Decimal(0)))[1] == [False, True]


def test_messages_of_the_stream_are_never_repeats_of_each_other():
    """Each of them is a message of its own."""
    assert seen(*[ticker("REALTIME")] * 3, *[ticker(None)] * 2)[1] == [False] * 5


def test_a_trade_that_a_snapshot_showed_first_is_stored_once():
    """A REST answer overtakes the stream. The next message of the stream is another one."""
    records = [ticker(), ticker("REALTIME"), ticker(), ticker("REALTIME")]

    assert seen(*records)[1] == [False, True, True, False]


def test_a_ticker_without_the_time_of_its_trade_is_kept():
    assert seen(*[ticker(trade_timestamp=None)] * 2)[1] == [False, False]


def test_stored_trades_are_known_after_a_restart():
    """Upbit's total covers 24 hours, so older trades have left it since."""
    stored = TickerTrade("KRW-BTC", TRADE_MS, Decimal("1.50"), Decimal(2), Decimal(9))
    record = UpbitTicker(
        market="KRW-BTC", timestamp_ms=TRADE_MS, epoch=2, seq=1, trade_timestamp=TRADE_MS,
        trade_price=Decimal("1.50"), trade_volume=Decimal(2), acc_trade_volume_24h=Decimal(7),
        stream_type="SNAPSHOT",
    )  # fmt: skip

    assert SeenTrades(UPBIT.layout, [stored]).repeats(record)


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["SNAPSHOT", "REALTIME"]), st.integers(0, 5)), max_size=60
    )
)
def test_each_trade_is_kept_once_however_often_snapshots_repeat_it(steps):
    """Against the set of all trades."""
    trades, shown, streamed = SeenTrades(BITHUMB.layout), set(), set()
    for stream_type, number in steps:
        repeated = trades.repeats(ticker(stream_type, trade_timestamp=TRADE_MS + number))
        assert repeated == (number in (shown if stream_type == "SNAPSHOT" else shown - streamed))
        shown.add(number)
        if stream_type == "REALTIME":
            streamed.add(number)


class Tables:
    """What the history keeps of trades; each successor of a consumer begins with it."""

    def __init__(self, layout):
        self.layout = layout
        self.rows = []
        self.marks = set()
        self.restart()

    def restart(self):
        """Read the trades again, as the next consumer does."""
        self.seen = SeenTrades(
            self.layout,
            [
                TickerTrade(
                    row.market, row.trade_timestamp, row.trade_price, row.trade_volume,
                    row.acc_trade_volume, identity if identity in self.marks else None,
                )
                for row in self.rows[-KEPT_TRADES:]
                for identity in [RecordIdentity(row.pod_index, row.epoch, row.seq)]
            ],
        )  # fmt: skip

    def take(self, record):
        """Store a record unless it is a repeat, with the changes, in one transaction."""
        repeated = self.seen.repeats(record)
        self.rows += [] if repeated else [record]
        changes = self.seen.cut()
        self.marks |= set(changes.added)
        self.marks -= set(changes.settled)
        return repeated


def test_a_trade_that_a_snapshot_put_is_known_as_such_after_a_restart():
    """The stream's own message is its first one, the next equal message is another trade."""
    tables = Tables(BITHUMB.layout)
    tables.take(ticker(seq=1))
    tables.restart()

    assert tables.take(ticker("REALTIME", epoch=2))
    tables.restart()
    assert tables.take(ticker(epoch=3))
    assert not tables.take(ticker("REALTIME", epoch=3, seq=2))


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["SNAPSHOT", "REALTIME", None]), st.integers(0, 2), st.integers(0, 3)
        ),
        max_size=40,
    ),
    crashes=st.sets(st.integers(0, 40)),
)
def test_crashes_change_nothing(steps, crashes):
    """With a crash before any record, the same rows are stored as without."""
    steady, crashing = Tables(BITHUMB.layout), Tables(BITHUMB.layout)
    for seq, (stream_type, number, total) in enumerate(steps):
        record = ticker(
            stream_type, seq=seq, trade_timestamp=TRADE_MS + number, acc_trade_volume=Decimal(total)
        )
        if seq in crashes:
            crashing.restart()
        assert crashing.take(record) == steady.take(record)

    assert crashing.rows == steady.rows


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["SNAPSHOT", "REALTIME"]), st.integers(0, 3 * KEPT_TRADES)),
        max_size=200,
    )
)
def test_marks_are_as_bounded_as_the_memory(steps):
    """A trade that is forgotten leaves no mark."""
    tables = Tables(BITHUMB.layout)
    for seq, (stream_type, number) in enumerate(steps):
        tables.take(ticker(stream_type, seq=seq, trade_timestamp=TRADE_MS + number))

    assert len(tables.marks) <= KEPT_TRADES


def test_memory_is_bounded_and_forgetting_loses_no_trade():
    """A snapshot of a forgotten trade is stored again."""
    trades, _ = seen(
        *(ticker("REALTIME", trade_timestamp=TRADE_MS + ms) for ms in range(KEPT_TRADES + 1))
    )

    assert trades.repeats(ticker(trade_timestamp=TRADE_MS + 1))
    assert not trades.repeats(ticker(trade_timestamp=TRADE_MS))


def test_a_replay_of_old_trades_displaces_no_new_one():
    """The snapshot after the replay still repeats the newest trade."""
    trades, _ = seen(
        ticker("REALTIME"),
        *(ticker("REALTIME", trade_timestamp=TRADE_MS - ms) for ms in range(1, 3 * KEPT_TRADES)),
    )

    assert trades.repeats(ticker())

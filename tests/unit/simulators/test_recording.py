"""Recordings become frames in the order of their times, byte for byte, and are sent on time."""

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.simulators.recording import FRAME_TRADES, Frame, Replay, exact_price, read

# 2013-10-07 09:30 in New York, which was four hours behind.
OPENING_MS = int(datetime(2013, 10, 7, 13, 30, tzinfo=UTC).timestamp() * 1000)
NINE_THIRTY_MS = 34_200_000
TICKS = "us_trades_20131007_open_SPY.csv"
AAPL, MSFT = frozenset({"AAPL"}), frozenset({"MSFT"})
BOTH = AAPL | MSFT
FRAMES = [
    Frame(10_000, AAPL, "first", 1),
    Frame(10_500, MSFT, "second", 1),
    Frame(12_000, AAPL, "third", 1),
]


def trade_frame(symbol: str, *times_ms: int) -> str:
    trades = [{"c": ["1"], "p": 1.50, "s": symbol, "t": at_ms, "v": 1} for at_ms in times_ms]
    return json.dumps({"data": trades, "type": "trade"})


def written(path: Path, *lines: str) -> Path:
    path.write_text("".join(line + "\n" for line in lines))
    return path


def tick(after_ms: int, price: str = "1674250") -> str:
    return f"{NINE_THIRTY_MS + after_ms},{price},100,P,0012,0"


def test_frames_are_kept_byte_for_byte(tmp_path):
    """Parsers must be tested with unusual spaces and trailing zeros."""
    odd = '{"type":"trade",  "data":[{"s":"AAPL","p":1.500,"t":1000,"v":1,"c":null}]}'
    file = written(tmp_path / "frames.jsonl", odd, '{"type":"ping"}')

    trades, ping = read([file])

    assert (trades.text, trades.at_ms, trades.symbols, trades.trades) == (odd, 1000, {"AAPL"}, 1)
    assert (ping.text, ping.symbols, ping.trades) == ('{"type":"ping"}', frozenset(), 0)


def test_a_frame_is_as_old_as_its_newest_trade_and_never_older_than_the_one_before(tmp_path):
    """Trades in a recording can go back in time, but its frames never do."""
    file = written(
        tmp_path / "frames.jsonl", trade_frame("AAPL", 5_000, 4_000), trade_frame("AAPL", 1_000)
    )

    assert [frame.at_ms for frame in read([file])] == [5_000, 5_000]


@pytest.mark.parametrize(
    "rubbish",
    [
        '{"data":[{"p":1.5,"s":',
        "[1, 2]",
        '"trade"',
        '{"type":"surprise"}',
        '{"type":"trade"}',
        '{"type":"trade","data":[5]}',
        '{"type":"trade","data":[{"p":1.5}]}',
        '{"type":"trade","data":[{"s":"AAPL","t":"now"}]}',
        '{"type":"ticker","code":"KRW-BTC","timestamp":null}',
    ],
)
def test_a_malformed_frame_of_a_recording_is_sent_unchanged(tmp_path, rubbish):
    """It was recorded because a client must survive it; it belongs to no symbol."""
    file = written(tmp_path / "frames.jsonl", trade_frame("AAPL", 5_000), rubbish)

    _, frame = read([file])

    assert (frame.text, frame.at_ms, frame.trades) == (rubbish, 5_000, 0)
    assert not frame.symbols


def test_tickers_of_bithumb_are_read_too(tmp_path):
    file = written(tmp_path / "t.jsonl", '{"type":"ticker","code":"KRW-BTC","timestamp":7000}')

    (frame,) = read([file])

    assert (frame.at_ms, frame.symbols, frame.trades) == (7_000, {"KRW-BTC"}, 1)


def test_every_row_of_a_trade_file_is_a_trade(tmp_path):
    """Also identical rows; price and time are exact, the condition is kept as text."""
    file = written(tmp_path / TICKS, tick(0), tick(0), tick(50, "1674399"))

    (frame,) = read([file])

    first = {"c": ["0012"], "p": 167.425, "s": "SPY", "t": OPENING_MS, "v": 100}
    third = {**first, "p": 167.4399, "t": OPENING_MS + 50}
    assert json.loads(frame.text) == {"data": [first, first, third], "type": "trade"}
    assert (frame.symbols, frame.trades) == ({"SPY"}, 3)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("us_trades_20131007_open_BRK.B.csv", "BRK.B"),
        ("us_trades_20131007_open_V.csv", "V"),
        ("20131007_BF-B.csv", "BF-B"),
    ],
)
def test_a_symbol_may_have_a_dot_and_a_file_empty_lines(tmp_path, name, symbol):
    (frame,) = read([written(tmp_path / name, tick(0), "", tick(1), "")])

    assert (frame.symbols, frame.trades) == ({symbol}, 2)


def test_trades_far_apart_or_too_many_do_not_share_a_frame(tmp_path):
    file = written(tmp_path / TICKS, *[tick(0)] * (FRAME_TRADES + 1), tick(100), tick(199))

    assert [frame.trades for frame in read([file])] == [FRAME_TRADES, 1, 2]


def test_a_trade_file_may_be_zipped(tmp_path):
    with zipfile.ZipFile(tmp_path / "AIG_20131007_trade.zip", "w") as archive:
        archive.writestr("20131007_aig_trade_tick.csv", tick(0) + "\n")

    (frame,) = read([tmp_path / "AIG_20131007_trade.zip"])

    assert (frame.symbols, frame.at_ms) == ({"AIG"}, OPENING_MS)


def test_files_are_merged_by_time_and_each_keeps_its_order(tmp_path):
    first = written(
        tmp_path / "a.jsonl", trade_frame("AAPL", OPENING_MS), trade_frame("MSFT", OPENING_MS)
    )
    second = written(tmp_path / TICKS, tick(-1_000), tick(1_000))

    symbols = [symbol for frame in read([first, second]) for symbol in frame.symbols]

    assert symbols == ["SPY", "AAPL", "MSFT", "SPY"]


@pytest.mark.parametrize(
    ("text", "exact"),
    [("1674250", "167.425"), ("1000000", "100"), ("1", "0.0001"), ("10000000000", "1000000")],
)
def test_prices_are_exact_decimals(text, exact):
    assert exact_price(text) == exact


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("frames.txt", "{}"),
        ("ticks.csv", tick(0)),
        (TICKS, "1,2,3"),
        (TICKS, tick(0, "high")),
        (TICKS, tick(0).replace(str(NINE_THIRTY_MS), "noon")),
        ("AIG_20131007_trade.zip", "not a zip file"),
    ],
)
def test_a_file_that_cannot_be_replayed_is_named(tmp_path, name, text):
    file = written(tmp_path / name, text)

    with pytest.raises(ConfigurationError, match=name):
        read([file])


def test_a_file_that_is_not_text_is_named(tmp_path):
    file = tmp_path / "frames.jsonl"
    file.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ConfigurationError, match=r"frames\.jsonl"):
        read([file])


def sent_by(replay: Replay, now_s: float) -> list[str]:
    """Send all that is due, and return the texts."""
    texts = []
    while frame := replay.due(BOTH, now_s=now_s):
        texts.append(frame.text)
        replay.sent += 1
    return texts


def test_frames_keep_their_distances():
    replay = Replay(FRAMES)

    assert sent_by(replay, 100.0) == ["first"]
    assert sent_by(replay, 100.4) == []
    assert sent_by(replay, 100.5) == ["second"]
    assert sent_by(replay, 103.0) == ["third"]
    assert sent_by(replay, 999.0) == []


def test_speed_shortens_the_distances():
    replay = Replay(FRAMES, speed=10.0)

    assert sent_by(replay, 100.0) == ["first"]
    assert sent_by(replay, 100.06) == ["second"]
    assert sent_by(replay, 100.21) == ["third"]


def test_speed_0_sends_everything_at_once():
    assert sent_by(Replay(FRAMES, speed=0), 100.0) == ["first", "second", "third"]


def test_a_frame_without_a_time_is_due_at_once():
    frames = [Frame(0, AAPL, "no time", 1), *FRAMES]

    assert sent_by(Replay(frames), 100.0) == ["no time", "first"]


def test_a_replay_begins_when_all_symbols_are_subscribed():
    replay = Replay(FRAMES)

    assert replay.due(AAPL, now_s=100.0) is None
    assert replay.due(BOTH, now_s=107.0) == FRAMES[0]


def test_fewer_symbols_can_begin_a_replay():
    assert Replay(FRAMES, wait_symbols=1).due(MSFT, now_s=100.0) == FRAMES[0]
    assert Replay(FRAMES, wait_symbols=1).due(frozenset({"TSLA"}), now_s=100.0) is None


def test_time_counts_from_the_first_frame_that_was_delivered():
    """Until then each attempt begins again, so nothing is skipped."""
    replay = Replay(FRAMES)
    assert replay.due(BOTH, now_s=100.0) == FRAMES[0]

    assert sent_by(replay, 200.0) == ["first"]
    assert sent_by(replay, 200.5) == ["second"]


def test_a_replay_goes_on_while_nothing_is_subscribed():
    """A client that reconnects receives the next frame, not the first."""
    replay = Replay(FRAMES)
    sent_by(replay, 100.0)

    assert replay.due(frozenset(), now_s=101.0) == FRAMES[1]

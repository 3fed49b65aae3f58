"""Recorded frames (.jsonl) and trade files (.csv, .zip) as timed frames, and their replay."""

import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from ray_pipeline.errors import ConfigurationError

NEW_YORK = ZoneInfo("America/New_York")
PRICE_SCALE = Decimal(10_000)
FRAME_MS = 100  # trades within this time share a frame, as the provider's do
FRAME_TRADES = 100
TICK_COLUMNS = 6
SYMBOL = re.compile(
    r"[A-Z][A-Z0-9.-]*"
)  # in a file's name, in which all other words are in lower case


@dataclass(frozen=True, slots=True)
class Frame:
    """
    One recorded frame.

    Attributes:
        at_ms: When it was sent, ms since the epoch; 0 if the recording does not contain a time.
        symbols: The symbols of its records; empty for a control frame.
        text: The frame, byte for byte if it was recorded.
        trades: The number of its records.
    """

    at_ms: int
    symbols: frozenset[str]
    text: str
    trades: int


class Replay:
    """
    Recorded frames and the position among them, which survives reconnects.

    Attributes:
        frames: The frames in the order of sending.
        symbols: All symbols in the frames.
        sent: How many frames have been sent; also the index of the next one.
    """

    def __init__(
        self, frames: Sequence[Frame], *, speed: float = 1.0, wait_symbols: int | None = None
    ) -> None:
        self.frames = frames
        self.symbols = frozenset(symbol for frame in frames for symbol in frame.symbols)
        self.sent = 0
        self._speed = speed
        self._symbols_to_begin = len(self.symbols) if wait_symbols is None else wait_symbols
        self._first_ms = next((frame.at_ms for frame in frames if frame.at_ms), 0)
        self._begun_s = 0.0

    def due(self, subscribed: Set[str], *, now_s: float) -> Frame | None:
        """
        Return the next frame if its time has come, otherwise None; the caller increments `sent`.

        Args:
            subscribed: The symbols that are subscribed now.
            now_s: Any monotonic clock.
        """
        if self.sent >= len(self.frames):
            return None
        if self.sent == 0:
            # A replay that began with the first subscription would lose the frames of all symbols
            # that are subscribed a moment later.
            if len(self.symbols & subscribed) < self._symbols_to_begin:
                return None
            self._begun_s = now_s
        frame = self.frames[self.sent]
        replayed_ms = (now_s - self._begun_s) * 1000 * self._speed
        if self._speed > 0 and frame.at_ms and frame.at_ms - self._first_ms > replayed_ms:
            return None
        return frame


def read(paths: Iterable[Path]) -> list[Frame]:
    """
    Return the frames of all files, by time; frames of one file keep their order.

    Raises:
        ConfigurationError: If a file cannot be read, or its kind is not supported.
    """
    frames = [frame for path in paths for frame in _read(path)]
    # The sort is stable: frames without a time come first, in the order of the files.
    return sorted(frames, key=lambda frame: frame.at_ms)


def _read(path: Path) -> Iterator[Frame]:
    try:
        if path.suffix in {".jsonl", ".json"}:
            yield from read_frames(path.read_text(encoding="utf-8"))
        elif path.suffix == ".csv":
            yield from read_ticks(path.read_text(), *_symbol_and_day(path.name))
        elif path.suffix == ".zip":
            yield from _read_zip(path)
        else:
            raise ConfigurationError(f"{path}: only .jsonl, .json, .csv and .zip can be replayed")
    except (OSError, ValueError, ArithmeticError, zipfile.BadZipFile) as error:
        raise ConfigurationError(f"{path} cannot be replayed: {error}") from error


def _read_zip(path: Path) -> Iterator[Frame]:
    symbol, day = _symbol_and_day(path.name)
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not entry.is_dir():
                yield from read_ticks(archive.read(entry).decode(), symbol, day)


def _symbol_and_day(name: str) -> tuple[str, datetime]:
    """Parse "us_trades_20131007_open_BRK.B.csv" or "AIG_20131007_trade.zip"."""
    day = re.search(r"(\d{8})", name)
    words = [word for word in Path(name).stem.split("_") if SYMBOL.fullmatch(word)]
    if day is None or not words:
        raise ValueError("the file's name says neither the day nor the symbol")
    return words[-1], datetime.strptime(day.group(1), "%Y%m%d").replace(tzinfo=NEW_YORK)


def read_frames(text: str) -> Iterator[Frame]:
    """Yield one frame per line, byte for byte; its time is that of its newest record."""
    last_ms = 0
    for line in io.StringIO(text):
        frame = line.rstrip("\n")
        if frame:
            last_ms, symbols, trades = _parse(frame, last_ms)
            yield Frame(last_ms, symbols, frame, trades)


def _parse(frame: str, last_ms: int) -> tuple[int, frozenset[str], int]:
    """Return time, symbols and number of records of a frame; no symbols if it is malformed."""
    try:
        message = json.loads(frame)
        if message.get("type") == "trade" and "data" in message:
            trades = message["data"]
            newest = max((trade["t"] for trade in trades), default=last_ms)
            return max(last_ms, newest), frozenset(trade["s"] for trade in trades), len(trades)
        if "code" in message:
            at_ms = int(message.get("timestamp", last_ms))
            return max(last_ms, at_ms), frozenset({message["code"]}), 1
    except (ValueError, TypeError, KeyError, AttributeError):
        # A malformed frame was recorded because clients must survive it: it is sent unchanged.
        pass
    return last_ms, frozenset(), 0


def read_ticks(text: str, symbol: str, day: datetime) -> Iterator[Frame]:
    """
    Yield frames of a trade file without a header.

    Its columns are: milliseconds since midnight in New York, price times 10,000, volume, exchange,
    sale condition in hex, suspicious flag. Identical rows are separate trades.
    """
    midnight = datetime.combine(day.date(), time(), NEW_YORK)
    trades: list[str] = []
    begun_ms = last_ms = 0
    for line in io.StringIO(text):
        row = line.strip()
        if not row:
            continue
        columns = row.split(",")
        if len(columns) != TICK_COLUMNS:
            raise ValueError(f"{len(columns)} columns in {row!r}, not {TICK_COLUMNS}")
        at_ms = epoch_ms(midnight, int(columns[0]))
        if trades and (at_ms - begun_ms >= FRAME_MS or len(trades) >= FRAME_TRADES):
            yield _frame(last_ms, symbol, trades)
            trades = []
        if not trades:
            begun_ms = at_ms
        last_ms = at_ms
        trades.append(
            f'{{"c":["{columns[4]}"],"p":{exact_price(columns[1])},"s":"{symbol}",'
            f'"t":{at_ms},"v":{columns[2]}}}'
        )
    if trades:
        yield _frame(last_ms, symbol, trades)


def _frame(at_ms: int, symbol: str, trades: list[str]) -> Frame:
    text = '{"data":[' + ",".join(trades) + '],"type":"trade"}'
    return Frame(at_ms, frozenset({symbol}), text, len(trades))


def epoch_ms(midnight: datetime, since_midnight_ms: int) -> int:
    """Return ms since the epoch of a time of day in New York."""
    # Wall-clock arithmetic: it is right because New York changes its clocks outside session hours.
    moment = midnight + timedelta(milliseconds=since_midnight_ms)
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


def exact_price(text: str) -> str:
    """Return a price times 10,000 as the shortest exact decimal: 1674250 is 167.425."""
    return f"{(Decimal(text) / PRICE_SCALE).normalize():f}"

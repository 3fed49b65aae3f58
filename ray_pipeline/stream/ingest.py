"""
From what a provider sent to numbered records in the outbox. Nothing is dropped in silence.

This is the hot path: one frame in, its records out, no waiting.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import msgspec

from ray_pipeline.errors import BadRecord
from ray_pipeline.feeds import bithumb, finnhub
from ray_pipeline.feeds.records import REJECT_LIMIT_BYTES, Gap, Reject, Ticker, Trade, to_ms
from ray_pipeline.stream.outbox_port import OutboxPort

DETAIL_LIMIT = 1_000  # characters
NOTHING: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """
    Who a record comes from.

    Attributes:
        shard: Number of the connection.
        name: As the tables show it, such as `sp500-03`; also the key of notices.
        source: As the tables show it.
    """

    shard: int
    name: str
    source: str


@dataclass(slots=True)
class Counts:
    """What was taken so far."""

    records: int = 0
    rejects: int = 0
    unsubscribed: int = 0  # stored all the same
    last_data_at: datetime | None = None


class Desk:
    """Numbers notices and puts them into the outbox, beside the data."""

    def __init__(self, outbox: OutboxPort, origin: Origin) -> None:
        self.outbox = outbox
        self.origin = origin
        self.counts = Counts()

    def reject(self, reason: str, detail: str, payload: bytes, *, received_at: datetime) -> None:
        """Send something that is no record to where it is parked."""
        self.counts.rejects += 1
        record = Reject(
            epoch=self.outbox.epoch,
            seq=self.outbox.next_seq(),
            pod_index=self.origin.shard,
            reason=reason,
            detail=detail[:DETAIL_LIMIT],
            payload=excerpt(payload),
            size_bytes=len(payload),
            created_at=received_at,
        )
        self.outbox.put(self.origin.name, record, received_at=received_at)

    def gap(
        self,
        kind: str,
        cause: str,
        *,
        symbols: Sequence[str] | None,
        from_at: datetime | None,
        to_at: datetime,
    ) -> None:
        """Report a time in which nothing could be collected."""
        record = Gap(
            epoch=self.outbox.epoch,
            seq=self.outbox.next_seq(),
            pod_index=self.origin.shard,
            gap_kind=kind,
            cause=cause[:DETAIL_LIMIT],
            symbols=None if symbols is None else list(symbols),
            from_at=from_at,
            to_at=to_at,
            created_at=to_at,
        )
        self.outbox.put(self.origin.name, record, received_at=to_at)


def excerpt(payload: bytes) -> str:
    """Return as much of a payload as fits into a record once it is written as JSON."""
    text = payload[:REJECT_LIMIT_BYTES].decode("utf-8", "replace")
    while (size := len(msgspec.json.encode(text))) > REJECT_LIMIT_BYTES:
        # Control characters take six bytes each, so a cut by bytes alone would not do.
        text = text[: len(text) * REJECT_LIMIT_BYTES // size - 1]
    return text


@dataclass(slots=True)
class Taken:
    """
    What a frame was.

    Attributes:
        symbols: The symbols it had data of.
        complaint: What the provider did not like, empty where it did not complain.
    """

    symbols: Collection[str] = NOTHING
    complaint: str = ""


TAKEN_NOTHING = Taken()


@dataclass(slots=True)
class TradeIntake:
    """Takes the frames of Finnhub."""

    desk: Desk
    future_tolerance_ms: int
    categories: Mapping[str, str | None] = field(default_factory=dict)

    def take(self, frame: bytes, received_at: datetime) -> Taken:
        """Put everything in a frame into the outbox, in its order."""
        events = finnhub.parse(frame)
        now_ms = to_ms(received_at)
        symbols: dict[str, None] = {}
        taken = TAKEN_NOTHING
        for event in events:
            if type(event) is finnhub.Print:
                if self._put(event, now_ms, received_at):
                    symbols[event.s] = None
            elif isinstance(event, finnhub.Refusal):
                self.desk.reject(event.reason, event.detail, event.payload, received_at=received_at)
            elif isinstance(event, finnhub.Complaint):
                taken = Taken(complaint=event.message or "no reason given")
        if symbols:
            self.desk.counts.last_data_at = received_at
            return Taken(symbols=symbols)
        return taken

    def _put(self, event: finnhub.Print, now_ms: int, received_at: datetime) -> bool:
        """Put one trade, or what is left of it; say whether it was a trade."""
        try:
            finnhub.check(event, now_ms=now_ms, future_tolerance_ms=self.future_tolerance_ms)
            if event.v is not None and not event.v.is_finite():
                raise BadRecord("no usable volume", reason="bad_volume")
        except BadRecord as error:
            payload = msgspec.json.encode(event)
            self.desk.reject(error.reason, str(error), payload, received_at=received_at)
            return False
        outbox, origin = self.desk.outbox, self.desk.origin
        symbol = event.s
        trade = Trade(
            symbol=symbol,
            price=event.p,
            volume=event.v,
            timestamp_ms=event.t,
            epoch=outbox.epoch,
            seq=outbox.next_seq(),
            pod_index=origin.shard,
            trade_conditions=event.c,
            pod_name=origin.name,
            source=origin.source,
            category=self.categories.get(symbol),
            created_at=received_at,
        )
        outbox.put(symbol, trade, received_at=received_at)
        self.desk.counts.records += 1
        return True


@dataclass(slots=True)
class TickerIntake:
    """
    Takes Bithumb's tickers, from the WebSocket and from REST.

    Attributes:
        newest_ms: Event time of the last ticker put, per market; REST repeats what has not changed.
    """

    desk: Desk
    future_tolerance_ms: int
    newest_ms: dict[str, int] = field(default_factory=dict)

    def take(self, frame: bytes, received_at: datetime) -> Taken:
        """
        Put the ticker in a frame into the outbox.

        Raises:
            FeedRefused: If the frame is one of Bithumb's errors.
        """
        event = bithumb.parse_frame(frame)
        if event is None:
            return TAKEN_NOTHING
        ticker = self._ticker(event, frame, received_at)
        return TAKEN_NOTHING if ticker is None else self._put(ticker, received_at)

    def take_answer(
        self, events: Iterator[bithumb.RawTicker | bithumb.Refusal], received_at: datetime
    ) -> int:
        """Put what is new in an answer of REST, and return how many tickers that were."""
        new = 0
        for event in events:
            ticker = self._ticker(event, None, received_at)
            if ticker and ticker.timestamp_field > self.newest_ms.get(ticker.market, -1):
                self._put(ticker, received_at)
                new += 1
        return new

    def _ticker(
        self,
        event: bithumb.RawTicker | bithumb.Refusal,
        frame: bytes | None,
        received_at: datetime,
    ) -> Ticker | None:
        """Return a ticker with its number, None after parking what is none."""
        if isinstance(event, bithumb.Refusal):
            self.desk.reject(event.reason, event.detail, event.payload, received_at=received_at)
            return None
        outbox = self.desk.outbox
        try:
            ticker = bithumb.ticker(
                event,
                received_at=received_at,
                pod_index=self.desk.origin.shard,
                epoch=outbox.epoch,
                seq=0,
            )
            bithumb.check(
                ticker,
                now_ms=to_ms(received_at),
                future_tolerance_ms=self.future_tolerance_ms,
            )
            _require_finite(event)
        except BadRecord as error:
            payload = frame or msgspec.json.encode(event)
            self.desk.reject(error.reason, str(error), payload, received_at=received_at)
            return None
        return ticker

    def _put(self, ticker: Ticker, received_at: datetime) -> Taken:
        outbox = self.desk.outbox
        numbered = msgspec.structs.replace(ticker, seq=outbox.next_seq())
        outbox.put(numbered.market, numbered, received_at=received_at)
        self.desk.counts.records += 1
        self.desk.counts.last_data_at = received_at
        newest_ms = self.newest_ms
        newest_ms[numbered.market] = max(
            numbered.timestamp_field, newest_ms.get(numbered.market, -1)
        )
        return Taken(symbols=(numbered.market,))


def _require_finite(event: bithumb.RawTicker) -> None:
    """JSON has no word for infinity, and neither has a price."""
    for name in bithumb.COPIED:
        value = getattr(event, name)
        if isinstance(value, Decimal) and not value.is_finite():
            raise BadRecord(f"no usable {name}", reason="bad_price")

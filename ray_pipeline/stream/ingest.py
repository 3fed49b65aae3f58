"""
From the frames of a venue to numbered records in the outbox. Nothing is dropped without a notice.

This is the hot path: it never waits.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from ray_pipeline.dead_letter_reasons import Reason
from ray_pipeline.errors import BadRecord, FeedRefused
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.protocol import Arrival, Complaint, RefusedPart
from ray_pipeline.feeds.records import EPOCH, REJECT_LIMIT_BYTES, Gap, Reject, to_ms
from ray_pipeline.stream.outbox_port import OutboxPort
from ray_pipeline.stream.seen_trades import SeenTrades, is_snapshot

DETAIL_LIMIT = 1_000  # characters
NOTHING: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """
    The producer of a record.

    Attributes:
        shard: Number of the connection.
        name: Name in the tables, such as `sp500-03`; also the key of notices.
    """

    shard: int
    name: str


@dataclass(slots=True)
class Counts:
    """Counts since the start of the epoch."""

    records: int = 0
    rejects: int = 0
    unsubscribed: int = 0  # records of symbols that were not requested; they are stored
    last_data_at: datetime | None = None


class NoticeWriter:
    """Numbers notices and puts them into the outbox."""

    def __init__(self, outbox: OutboxPort, origin: Origin) -> None:
        self.outbox = outbox
        self.origin = origin
        self.counts = Counts()

    def reject(self, reason: str, detail: str, payload: bytes, *, received_at: datetime) -> None:
        """Report a part of a frame that is not a record; it becomes a dead letter."""
        self.counts.rejects += 1
        record = Reject(
            epoch=self.outbox.epoch,
            seq=self.outbox.next_seq(),
            pod_index=self.origin.shard,
            reason=reason,
            # Half a surrogate pair cannot be encoded.
            detail=detail[:DETAIL_LIMIT].encode("utf-8", "replace").decode(),
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
    """Return the start of a payload that, encoded as JSON, fits into a record."""
    text = payload[:REJECT_LIMIT_BYTES].decode("utf-8", "replace")
    while (size := len(msgspec.json.encode(text))) > REJECT_LIMIT_BYTES:
        # JSON writes a control character as six bytes, so the first cut may be too long.
        text = text[: len(text) * REJECT_LIMIT_BYTES // size - 1]
    return text


@dataclass(slots=True)
class Taken:
    """
    The contents of a frame.

    Attributes:
        symbols: The symbols with data.
        complaint: The venue's complaint; empty if it did not complain.
    """

    symbols: Collection[str] = NOTHING
    complaint: str = ""


TAKEN_NOTHING = Taken()


class Intake:
    """
    Puts the contents of a venue's frames and REST answers into the outbox.

    Attributes:
        notices: Where notices go.
    """

    def __init__(self, notices: NoticeWriter, feed: Feed, *, future_tolerance_ms: int) -> None:
        origin = notices.origin
        self.notices = notices
        protocol = feed.protocol
        self._outbox = notices.outbox
        self._counts = notices.counts
        self._one_record_per_frame = protocol.one_record_per_frame
        # Plain attributes: one lookup per record instead of two or three.
        self._parse = protocol.parse
        self._record = protocol.record
        self._symbol_of = feed.layout.symbol
        # Of this epoch only: it saves the traffic of reconnects and of REST rounds. The consumer
        # decides what is a repeat, because only it knows the trades of earlier epochs.
        self._seen = SeenTrades(feed.layout) if feed.layout.trade_columns else None
        self._future_tolerance_ms = future_tolerance_ms
        self._arrival = Arrival(
            shard=origin.shard,
            producer=origin.name,
            epoch=notices.outbox.epoch,
            received_at=EPOCH,
        )

    def describe(self, categories: Mapping[str, str | None]) -> None:
        """Note the category of each symbol."""
        self._arrival.categories = dict(categories)

    def take(self, frame: bytes, received_at: datetime) -> Taken:
        """
        Put the contents of a frame into the outbox, in its order.

        Raises:
            FeedRefused: If the venue ends the connection after this frame.
        """
        try:
            events = self._parse(frame)
        except FeedRefused:
            raise
        except Exception as error:
            # A bug that one frame reveals must not cost the connection, and with it other frames.
            self.notices.reject(Reason.FAULT, _named(error), frame, received_at=received_at)
            return TAKEN_NOTHING
        if not events:
            return TAKEN_NOTHING
        self._arrive(received_at)
        whole = frame if self._one_record_per_frame else None
        symbols: dict[str, None] = {}
        taken = TAKEN_NOTHING
        for event in events:
            if type(event) is RefusedPart:
                self._refuse(event, received_at)
            elif type(event) is Complaint:
                taken = Taken(complaint=event.message)
            elif (symbol := self._put(event, received_at, whole)) is not None:
                symbols[symbol] = None
        if symbols:
            self._counts.last_data_at = received_at
            return Taken(symbols=symbols)
        return taken

    def take_answer(self, events: Iterable[object], received_at: datetime) -> int:
        """Put the new records of a REST answer into the outbox, and return their number."""
        self._arrive(received_at)
        before = self._counts.records
        for event in events:
            if isinstance(event, RefusedPart):
                self._refuse(event, received_at)
            elif self._put(event, received_at, None) is not None:
                self._counts.last_data_at = received_at
        return self._counts.records - before

    def _arrive(self, received_at: datetime) -> None:
        received_ms = to_ms(received_at)
        self._arrival.received_at = received_at
        self._arrival.received_ms = received_ms
        self._arrival.latest_ms = received_ms + self._future_tolerance_ms

    def _refuse(self, refusal: RefusedPart, received_at: datetime) -> None:
        self.notices.reject(
            refusal.reason, refusal.detail, refusal.payload, received_at=received_at
        )

    def _put(self, event: object, received_at: datetime, frame: bytes | None) -> str | None:
        """
        Put one record, or a reject in its place; return the symbol of a record.

        A snapshot that repeats a trade is data of its symbol too, but it is not put again.
        """
        outbox = self._outbox
        try:
            # `next_seq` only looks at the number, so a refused or repeated record leaves it free.
            record = self._record(event, self._arrival, outbox.next_seq())
            symbol = self._symbol_of(record)
            # A message of the stream always goes on. The consumer must see it, even if a snapshot
            # has shown its trade: the next equal message is then another trade.
            if self._seen is not None and self._seen.repeats(record) and is_snapshot(record):
                return symbol
            outbox.put(symbol, record, received_at=received_at)
        except BadRecord as error:
            payload = frame or _payload(event)
            self.notices.reject(error.reason, str(error), payload, received_at=received_at)
            return None
        except Exception as error:
            payload = frame or _payload(event)
            self.notices.reject(Reason.FAULT, _named(error), payload, received_at=received_at)
            return None
        self._counts.records += 1
        return symbol


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _payload(event: object) -> bytes:
    """Return a record as the venue wrote it, or at least as Python shows it."""
    try:
        return msgspec.json.encode(event)
    except Exception:
        return repr(event).encode("utf-8", "replace")

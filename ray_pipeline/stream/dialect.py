"""How each venue is asked for symbols, and which frames bring their data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ray_pipeline.feeds import bithumb, finnhub
from ray_pipeline.stream.ingest import Taken, TickerIntake, TradeIntake
from ray_pipeline.stream.subscriptions import Subscriptions


@dataclass(frozen=True, slots=True)
class Request:
    """A frame to send, and what it changes."""

    frame: str
    added: Sequence[str] = ()
    dropped: Sequence[str] = ()


class Dialect(Protocol):
    """What the collector needs to know about a venue."""

    def request(self, subscriptions: Subscriptions) -> Request | None:
        """Return the next frame towards what is wanted, None when that is reached."""

    def take(self, frame: bytes, received_at: datetime) -> Taken:
        """Put everything in a frame into the outbox."""

    def describe(self, symbols: Mapping[str, str | None]) -> None:
        """Take note of the symbols' categories."""


@dataclass(frozen=True, slots=True)
class FinnhubDialect:
    """One frame a symbol. Leavers first: the provider counts what is subscribed at a time."""

    intake: TradeIntake

    def request(self, subscriptions: Subscriptions) -> Request | None:
        """Return the frame for one symbol."""
        for symbol in subscriptions.surplus():
            return Request(finnhub.unsubscribe(symbol), dropped=(symbol,))
        for symbol in subscriptions.missing():
            return Request(finnhub.subscribe(symbol), added=(symbol,))
        return None

    def take(self, frame: bytes, received_at: datetime) -> Taken:
        """Put everything in a frame into the outbox."""
        return self.intake.take(frame, received_at)

    def describe(self, symbols: Mapping[str, str | None]) -> None:
        """Take note of the symbols' categories."""
        self.intake.categories = dict(symbols)


@dataclass(frozen=True, slots=True)
class BithumbDialect:
    """One frame for all markets, which replaces the one before."""

    intake: TickerIntake
    new_ticket: Callable[[], str]

    def request(self, subscriptions: Subscriptions) -> Request | None:
        """Return the frame for all markets."""
        if subscriptions.complete() or not subscriptions.wanted:
            return None
        return Request(
            bithumb.subscribe(self.new_ticket(), subscriptions.wanted),
            added=subscriptions.missing(),
            dropped=subscriptions.surplus(),
        )

    def take(self, frame: bytes, received_at: datetime) -> Taken:
        """Put everything in a frame into the outbox."""
        return self.intake.take(frame, received_at)

    def describe(self, symbols: Mapping[str, str | None]) -> None:
        """Markets have no categories."""

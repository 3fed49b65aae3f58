"""
How a feed talks to its venue: addresses, the frames to send, the meaning of received frames. Pure.

A venue module supplies the functions; `stream` calls them. None of them does I/O, reads a clock or
draws a random number.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from ray_pipeline.feeds.records import Record

R = TypeVar("R")  # a record as the venue writes it


@dataclass(frozen=True, slots=True)
class RefusedPart:
    """A part of a frame or an answer that is not a record, and the dead-letter reason."""

    reason: str
    detail: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Complaint:
    """The venue rejected a request of ours, such as one symbol too many."""

    message: str


@dataclass(slots=True)
class Arrival:
    """
    What a record holds in addition to the venue's own values.

    A connection reuses one instance and updates the times for each frame, because an allocation for
    each record would slow down the ingest.

    Attributes:
        shard: Number of the connection.
        producer: Name of the producer, such as `sp500-03`.
        epoch: Epoch of the producer's lease.
        received_at, received_ms: When the frame arrived.
        latest_ms: A record that is dated later than this is refused.
        categories: Category of each symbol, for feeds that have categories.
    """

    shard: int
    producer: str
    epoch: int
    received_at: datetime
    received_ms: int = 0
    latest_ms: int = 0
    categories: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PerSymbol:
    """The venue takes one frame for each symbol."""

    subscribe: Callable[[str], str]
    unsubscribe: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class AllSymbols:
    """The venue takes one frame for all symbols. A new frame replaces the previous one."""

    subscribe: Callable[[str, Sequence[str]], str]
    """Return the frame, given a ticket (a unique text) and the symbols."""


@dataclass(frozen=True, slots=True)
class RestPoll(Generic[R]):
    """
    A REST endpoint that returns the newest record of many symbols.

    It provides a snapshot when a producer starts, and replaces the WebSocket during an outage.

    Attributes:
        path: Path below the venue's REST URL.
        parameter: Query parameter that takes the symbols, separated by commas.
        symbols_per_request: The venue refuses requests with more symbols.
        parse: Yield the records of an answer in its order. Raise SymbolRefused if the answer says
            that the request is wrong, FeedRefused if it is another error.
        pause_s: Default pause between two rounds.
    """

    path: str
    parameter: str
    symbols_per_request: int
    parse: Callable[[bytes], Iterable[R | RefusedPart]]
    pause_s: float


@dataclass(frozen=True, slots=True)
class VenueProtocol(Generic[R]):
    """
    The WebSocket protocol of a venue.

    Attributes:
        venue: Name of the section with its addresses, and of the pacer of its connections.
        title: Name for people.
        ws_url: Default URL of the WebSocket.
        subscription: Whether the venue takes a frame per symbol or one frame for all symbols.
        parse: Return the contents of a frame in its order; () if there is nothing to store. Raise
            FeedRefused if the venue ends the connection after this frame.
        record: Return the numbered record. Raise BadRecord if the values are unusable.
        one_record_per_frame: Whether a dead letter of a record keeps the whole frame.
        url: Return the URL to connect to, given the base URL and the API key. A URL with a key must
            not be logged.
        rest_url: Default base URL of the REST API.
        poll: REST endpoint for snapshots and outages.
    """

    venue: str
    title: str
    ws_url: str
    subscription: PerSymbol | AllSymbols
    parse: Callable[[bytes], Sequence[R | RefusedPart | Complaint]]
    record: Callable[[R, Arrival, int], Record]
    url: Callable[[str, str], str] = lambda base, key: base  # noqa: ARG005 - the venue has no keys
    one_record_per_frame: bool = False
    rest_url: str = ""
    poll: RestPoll[R] | None = None

"""
Collect the symbols of one connection: connect, subscribe, read, detect silence, reconnect.

Each period without data is reported as a gap when data arrives again.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from ray_pipeline.errors import FeedRefused, FeedUnavailable
from ray_pipeline.feeds.protocol import AllSymbols, PerSymbol
from ray_pipeline.foreign_text import foreign_text
from ray_pipeline.retry import Backoff
from ray_pipeline.stream.dialect import next_request
from ray_pipeline.stream.gaps import GapBook
from ray_pipeline.stream.ingest import Intake, Taken
from ray_pipeline.stream.liveness import Liveness, Stall
from ray_pipeline.stream.subscriptions import Subscriptions
from ray_pipeline.tasks import first_of

log = logging.getLogger(__name__)

NO_SYMBOLS = "no_symbols"
REST_EVERY = 20  # subscriptions
# Reading a socket with a full buffer never waits. Without a pause the lease would not be renewed.
YIELD_RECORDS = 500
CHECKS_PER_STALL = 8  # of the silence, in the time that makes it a stall
LONGEST_CHECK_PAUSE_S = 1.0
PROBE_S = 2.0  # between two pings that prove that the connection is complete
# The back-off starts again after data of a connection of this age. A server that closes after each
# trade would otherwise be called at full speed; with it, at most twice a minute.
SUSTAINED_S = 30.0
MOST_COMPLAINTS = 20  # of a connection are reported; a server may vary its text without end
# This number of unreadable frames in a row within this time is a flood: each becomes a dead letter,
# and they would fill the disk. At a lower rate all are kept, to be replayed by a later generation.
FLOOD_FRAMES = 1_000
FLOOD_S = 10.0


class Socket(Protocol):
    """One connection to a provider."""

    async def send(self, text: str) -> None:
        """Send a text frame; FeedUnavailable when the connection is gone."""

    async def receive(self) -> bytes:
        """Return the next frame; FeedUnavailable when the connection is gone."""

    async def ping(self) -> None:
        """Send a ping and wait for its answer; FeedUnavailable when the connection is gone."""


Connect = Callable[[], AbstractAsyncContextManager[Socket]]
"""Open a connection and close it at the end. Raise FeedRefused or FeedUnavailable on failure."""


class ConnectionPacer(Protocol):
    """Spaces the connections of the whole cluster."""

    async def turn(self) -> None:
        """Wait for the next free moment."""


class FeedStalled(FeedUnavailable):
    """
    The connection is open but delivers no data.

    Attributes:
        since: When the silence began.
    """

    def __init__(self, message: str, *, since: datetime) -> None:
        super().__init__(message)
        self.since = since


@dataclass(frozen=True, slots=True)
class Pauses:
    """
    How slowly to subscribe, and when silence is a stall.

    Attributes:
        subscribe_s: Pause after each subscription.
        rest_s: Pause after every twentieth subscription, instead of `subscribe_s`.
        liveness_s: Shortest silence that counts as a stall.
    """

    subscribe_s: float
    rest_s: float
    liveness_s: float

    @property
    def check_pause_s(self) -> float:
        """Seconds between two checks for silence."""
        return min(LONGEST_CHECK_PAUSE_S, self.liveness_s / CHECKS_PER_STALL)


@dataclass(frozen=True, slots=True)
class Clock:
    """A wall clock for events and a monotonic clock for durations."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic_s: Callable[[], float] = time.monotonic


class Collector:
    """
    One connection and its subscriptions.

    Attributes:
        state: One word: no_symbols, paused, connecting, collecting or disconnected.
        cause: Why it does not collect; empty while it collects.
        complete_until: Everything that the venue sent before this moment was received, or is in a
            gap. None before the first connection.
    """

    def __init__(
        self,
        intake: Intake,
        subscription: PerSymbol | AllSymbols,
        *,
        connect: Connect,
        new_ticket: Callable[[], str],
        pacer: ConnectionPacer,
        pauses: Pauses,
        liveness: Liveness,
        backoff: Backoff,
        gaps: GapBook,
        clock: Clock,
    ) -> None:
        self._intake = intake
        self._notices = intake.notices
        self._subscription = subscription
        self._new_ticket = new_ticket
        self._connect = connect
        self._pacer = pacer
        self._pauses = pauses
        self._liveness = liveness
        self._backoff = backoff
        self._clock = clock
        self._subscriptions = Subscriptions()
        self._changed = asyncio.Event()
        self._running = asyncio.Event()
        self._running.set()
        self._paused = asyncio.Event()
        self._not_before_s = 0.0  # of the monotonic clock: when the next connection may begin
        self._connected_at_s = 0.0
        self._last_frame_at: datetime | None = None
        self._behind = False  # whether frames may wait that `_read` has not taken
        self._complaints: set[str] = set()
        self.gaps = gaps
        self.state = "starting"
        self.cause = ""
        self.connected = False
        self.connections = 0
        self.complete_until: datetime | None = None

    @property
    def subscriptions(self) -> Subscriptions:
        """The desired and the confirmed subscriptions."""
        return self._subscriptions

    @property
    def paused(self) -> bool:
        """Whether `pause` was called."""
        return self._paused.is_set()

    def want(self, symbols: Mapping[str, str | None]) -> None:
        """Replace the symbols and their categories. Only the difference is sent to the venue."""
        removed = set(self._subscriptions.desired) - symbols.keys()
        self._subscriptions.want(symbols)
        self._intake.describe(symbols)
        self._liveness.watch(symbols, now_s=self._clock.monotonic_s())
        for symbol in removed:
            self.gaps.close_symbol(symbol, to_at=self._clock.now())
        self._changed.set()

    def resubscribe(self, symbols: Iterable[str] | None) -> list[str]:
        """Subscribe again to these or to all symbols; return the desired symbols among them."""
        desired = self._subscriptions.desired
        chosen = desired if symbols is None else [symbol for symbol in symbols if symbol in desired]
        for symbol in chosen:
            self._subscriptions.ask_again(symbol)
        self._changed.set()
        return list(chosen)

    def pause(self) -> None:
        """Disconnect until `resume`. The time is reported as a gap."""
        self._running.clear()
        self._paused.set()

    def resume(self) -> None:
        """Continue after a pause."""
        self._paused.clear()
        self._running.set()

    async def until_paused(self) -> None:
        """Wait for a pause."""
        await self._paused.wait()

    async def until_resumed(self) -> None:
        """Wait for the end of a pause; return at once if there is none."""
        await self._running.wait()

    def close_gaps(self, *, to_at: datetime) -> None:
        """End every gap. The next producer reports the time from `complete_until` on."""
        if self.gaps.feed is not None:
            self.complete_until = to_at
        self.gaps.close_all(to_at=to_at)

    async def run(self) -> None:
        """Collect until cancelled. After a failure, wait and connect again."""
        try:
            while True:
                await self._ready()
                await self._pacer.turn()
                # The turn may have taken long.
                if self.paused or not self._subscriptions.desired:
                    continue
                wait_s = await self._connection()
                self._not_before_s = self._clock.monotonic_s() + wait_s
        finally:
            self.connected = False

    async def _ready(self) -> None:
        """Wait until it may connect. A pause is noticed at once, whatever it waits for."""
        while True:
            wait_s = self._not_before_s - self._clock.monotonic_s()
            if self.paused:
                self._set("paused", "paused by request")
                self.gaps.open("paused", "paused by request", from_at=self._clock.now())
                await self._running.wait()
                self._set("disconnected", "waiting for the next attempt")
            elif not self._subscriptions.desired:
                self._set(NO_SYMBOLS, "there are no symbols to collect")
                self._changed.clear()
                await first_of(_wait(self._changed), _wait(self._paused))
            elif wait_s > 0:
                await first_of(asyncio.sleep(wait_s), _wait(self._paused))
            else:
                return

    def _set(self, state: str, cause: str) -> None:
        self.state, self.cause = state, cause

    async def _connection(self) -> float:
        """Use one connection until it ends; return the seconds to wait before the next one."""
        self._set("connecting", self.cause)
        self._last_frame_at = None
        try:
            async with self._connect() as socket:
                self._begin()
                await first_of(
                    self._read(socket),
                    self._subscribe(socket),
                    self._watch(),
                    self._probe(socket),
                    _wait(self._paused),
                )
                # Open the gap here: `resume` may be called before the connection is closed.
                self.gaps.open("paused", "paused by request", from_at=self.complete_until)
            return 0.0
        except FeedRefused as error:
            self._fail("refused", str(error))
            return max(error.retry_after_s, self._backoff.next_s())
        except FeedStalled as error:
            self._fail("stalled", str(error), from_at=error.since)
            return self._backoff.next_s()
        except FeedUnavailable as error:
            self._fail("disconnected", str(error))
            return self._backoff.next_s()
        finally:
            self.connected = False

    def _begin(self) -> None:
        self._subscriptions.connected()
        self._connected_at_s = self._clock.monotonic_s()
        self._liveness.connected(now_s=self._connected_at_s)
        self._complaints.clear()
        self._last_frame_at = self.complete_until = self._clock.now()
        self._behind = False
        self.connected = True
        self.connections += 1
        self._set("collecting", "")

    def _fail(self, kind: str, text: str, *, from_at: datetime | None = None) -> None:
        cause = foreign_text(text)
        self._set("disconnected", cause)
        received_until = self._received_until()
        self.gaps.open(kind, cause, from_at=min(from_at or received_until, received_until))
        log.warning("%s: %s", self._notices.origin.name, cause)

    def _received_until(self) -> datetime:
        """
        Return up to when the connection that ends was received; now if there is none.

        That is the time of the last frame. A frame that is much newer than the last proof shows
        that the process was suspended or cannot keep up: newer frames may wait in the socket, and
        are lost with it. Then only the proof counts.
        """
        frame_at, proven_at = self._last_frame_at, self.complete_until
        if frame_at is None or proven_at is None:
            return self._clock.now()
        is_current = frame_at - proven_at <= timedelta(seconds=2 * PROBE_S)
        return frame_at if is_current else proven_at

    async def _read(self, socket: Socket) -> None:
        counts = self._notices.counts
        rested_at = counts.records + counts.rejects
        flood = _Flood()
        while True:
            frame = await socket.receive()
            received_at = self._clock.now()
            rejects = counts.rejects
            taken = self._intake.take(frame, received_at)
            self._note(taken, received_at)
            if counts.rejects > rejects or taken.symbols:
                flood.note(readable=bool(taken.symbols), now_s=self._clock.monotonic_s())
            if (total := counts.records + counts.rejects) - rested_at >= YIELD_RECORDS:
                rested_at = total
                self._behind = True
                await asyncio.sleep(0)
                self._behind = False

    def _note(self, taken: Taken, received_at: datetime) -> None:
        self._last_frame_at = received_at
        if taken.symbols:
            now_s = self._clock.monotonic_s()
            if now_s - self._connected_at_s >= SUSTAINED_S:
                self._backoff.reset()
            self._liveness.heard(taken.symbols, now_s=now_s)
            for symbol in taken.symbols:
                if not self._subscriptions.heard(symbol):
                    self._notices.counts.unsubscribed += 1
                if self.gaps.symbols:
                    self.gaps.close_symbol(symbol, to_at=received_at)
        elif taken.complaint:
            self._complain(taken.complaint, received_at)
        if self.gaps.feed is not None and self._resumed(taken, received_at):
            self.gaps.close(to_at=received_at)

    def _resumed(self, taken: Taken, received_at: datetime) -> bool:
        """
        Return whether the feed's gap is over.

        It is over with the first data after all symbols are subscribed. A closed market sends no
        data, so then any frame ends the gap.
        """
        if not self._subscriptions.complete():
            return False
        return bool(taken.symbols) or not self._liveness.is_open(received_at.timestamp())

    def _complain(self, text: str, received_at: datetime) -> None:
        complaint = foreign_text(text)
        if complaint in self._complaints or len(self._complaints) >= MOST_COMPLAINTS:
            return
        self._complaints.add(complaint)
        self.cause = f"the provider says: {complaint}"
        log.warning("%s: %s", self._notices.origin.name, self.cause)
        self._notices.gap(
            "refused", self.cause, symbols=None, from_at=received_at, to_at=received_at
        )

    async def _subscribe(self, socket: Socket) -> None:
        """Send requests until the subscriptions are as desired, then wait for a change."""
        sent = 0
        while True:
            request = next_request(
                self._subscription, self._subscriptions, new_ticket=self._new_ticket
            )
            if request is None:
                self._changed.clear()
                await self._changed.wait()
                continue
            await socket.send(request.frame)
            self._subscriptions.asked(added=request.added, dropped=request.dropped)
            for symbol in request.added:
                self._liveness.asked(symbol, now_s=self._clock.monotonic_s())
            if request.added:
                sent += 1
                await asyncio.sleep(self._pause_s(sent))

    def _pause_s(self, sent: int) -> float:
        return self._pauses.rest_s if sent % REST_EVERY == 0 else self._pauses.subscribe_s

    async def _probe(self, socket: Socket) -> None:
        """
        Move `complete_until` on with pings.

        An acknowledgement of everything received proves little: on a half-open connection nothing
        arrives, and the venue goes on sending. Nor does the arrival of a frame, because newer
        frames may wait in the socket. But frames arrive in order. An answer to a ping therefore
        proves that everything arrived that the venue sent before it received the ping.
        """
        while True:
            sent_at = self._clock.now()
            try:
                await socket.ping()
            except FeedUnavailable:
                # `_read` raises it too, after it took the frames that arrived before the end.
                await asyncio.Event().wait()
            # The answer overtakes frames that the library has queued. `_read` gives way only to
            # wait for a frame, when the queue is empty, or while it is behind.
            await asyncio.sleep(0)
            while self._behind:  # noqa: ASYNC110 - no event says that the reader waits
                await asyncio.sleep(0)
            self.complete_until = sent_at
            await asyncio.sleep(PROBE_S)

    async def _watch(self) -> None:
        """Detect silence: subscribe again to a silent symbol; reconnect if the feed is silent."""
        pause_s = self._pauses.check_pause_s
        while True:
            slept_from_s = self._clock.monotonic_s()
            await asyncio.sleep(pause_s)
            now_s, now = self._clock.monotonic_s(), self._clock.now()
            if now_s - slept_from_s > 2 * pause_s:
                # The process was suspended, or busy. The silence may be its own: data may wait in
                # the socket, or be repeated by the venue's TCP. `_read` must have its turn first.
                self._liveness.resumed(now_s=now_s)
                continue
            silent_s = self._liveness.feed_silence_s(now_s=now_s, wall_s=now.timestamp())
            if silent_s is not None:
                raise FeedStalled(
                    f"no data of any symbol for {silent_s:.0f} s, though the market is open",
                    since=now - timedelta(seconds=silent_s),
                )
            stalls = self._liveness.stalls(now_s=now_s, wall_s=now.timestamp())
            for stall in stalls:
                self._subscribe_again(stall)
            # A symbol that never had data may not exist, so it does not cost a reconnect.
            still_silent = [
                stall.symbol for stall in stalls if stall.has_had_data and stall.repeated
            ]
            if still_silent:
                raise FeedStalled(
                    f"still no data of {_abridged(still_silent)} after subscribing again", since=now
                )

    def _subscribe_again(self, stall: Stall) -> None:
        """Open the symbol's gap and subscribe to it again."""
        self.gaps.open_symbol(
            stall.symbol,
            "stalled",
            f"silent for {stall.silent_s:.0f} s in an open market; subscribed again",
            from_at=self._clock.now() - timedelta(seconds=stall.silent_s),
        )
        self._subscriptions.ask_again(stall.symbol)
        self._changed.set()


class _Flood:
    """Counts unreadable frames without data between them."""

    def __init__(self) -> None:
        self._frames = 0
        self._since_s = 0.0

    def note(self, *, readable: bool, now_s: float) -> None:
        """
        Note a frame.

        Raises:
            FeedUnavailable: If it completes a flood.
        """
        if readable or now_s - self._since_s > FLOOD_S:
            self._frames, self._since_s = 0, now_s
        self._frames += not readable
        if self._frames >= FLOOD_FRAMES:
            raise FeedUnavailable(
                f"{FLOOD_FRAMES} unreadable frames in {now_s - self._since_s:.1f} s; disconnected",
                fix="see them with `ray-pipeline dlq list`",
            )


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def _abridged(symbols: Sequence[str]) -> str:
    shown = ", ".join(symbols[:5])
    return shown if len(symbols) <= 5 else f"{shown} and {len(symbols) - 5} more"

"""
Collect the symbols of one connection: connect, subscribe, read, detect silence, reconnect.

Each period without data is reported as a gap when data arrives again.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from ray_pipeline.errors import FeedRefused, FeedUnavailable
from ray_pipeline.feeds.protocol import AllSymbols, PerSymbol
from ray_pipeline.foreign_text import foreign_text
from ray_pipeline.retry import Backoff
from ray_pipeline.stream.connection_ports import Clock, Connect, ConnectionPacer, Pauses
from ray_pipeline.stream.frame_reader import FrameReader
from ray_pipeline.stream.gaps import GapBook
from ray_pipeline.stream.ingest import Intake
from ray_pipeline.stream.liveness import Liveness
from ray_pipeline.stream.receipt_proof import ReceiptProof
from ray_pipeline.stream.silence_watch import FeedStalled, SilenceWatch
from ray_pipeline.stream.subscriber import Subscriber
from ray_pipeline.stream.subscriptions import Subscriptions
from ray_pipeline.tasks import first_of

log = logging.getLogger(__name__)

NO_SYMBOLS = "no_symbols"


class Collector:
    """
    One connection and its subscriptions.

    Attributes:
        gaps: The periods without data that continue.
        state: One word: no_symbols, paused, connecting, collecting or disconnected.
        connections: How many were opened.
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
        self._connect = connect
        self._pacer = pacer
        self._liveness = liveness
        self._backoff = backoff
        self._clock = clock
        self._subscriber = Subscriber(
            subscription, liveness, new_ticket=new_ticket, pauses=pauses, clock=clock
        )
        self._proof = ReceiptProof(clock)
        self._reader = FrameReader(
            intake,
            self.subscriptions,
            liveness,
            proof=self._proof,
            gaps=gaps,
            backoff=backoff,
            clock=clock,
        )
        self._silence = SilenceWatch(
            liveness, self._subscriber, gaps, liveness_s=pauses.liveness_s, clock=clock
        )
        self._running = asyncio.Event()
        self._running.set()
        self._paused = asyncio.Event()
        self._not_before_s = 0.0  # of the monotonic clock: when the next connection may begin
        self._cause = ""
        self.gaps = gaps
        self.state = "starting"
        self.connected = False
        self.connections = 0

    @property
    def subscriptions(self) -> Subscriptions:
        """The desired and the confirmed subscriptions."""
        return self._subscriber.subscriptions

    @property
    def cause(self) -> str:
        """Why it does not collect, or what the venue complains about; empty if all is well."""
        return self._cause or self._reader.complaint

    @property
    def complete_until(self) -> datetime | None:
        """Everything that the venue sent before this moment was received, or is in a gap."""
        return self._proof.complete_until

    @property
    def paused(self) -> bool:
        """Whether `pause` was called."""
        return self._paused.is_set()

    def want(self, symbols: Mapping[str, str | None]) -> None:
        """Replace the symbols and their categories. Only the difference is sent to the venue."""
        self._intake.describe(symbols)
        for symbol in self._subscriber.want(symbols):
            self.gaps.close_symbol(symbol, to_at=self._clock.now())

    def resubscribe(self, symbols: Iterable[str] | None) -> list[str]:
        """Subscribe again to these or to all symbols; return the desired symbols among them."""
        desired = self.subscriptions.desired
        chosen = desired if symbols is None else [symbol for symbol in symbols if symbol in desired]
        self._subscriber.ask_again(chosen)
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
        """Wait for the end of a pause; without a pause, return at once."""
        await self._running.wait()

    def close_gaps(self, *, to_at: datetime) -> None:
        """End every gap. The next producer reports the time from `complete_until` on."""
        if self.gaps.feed is not None:
            self._proof.complete_until = to_at
        self.gaps.close_all(to_at=to_at)

    async def run(self) -> None:
        """Collect until cancelled. After a failure, wait and connect again."""
        try:
            while True:
                await self._ready()
                await self._pacer.turn()
                # The turn may have taken long.
                if self.paused or not self.subscriptions.desired:
                    continue
                wait_s = await self._connection()
                self._not_before_s = self._clock.monotonic_s() + wait_s
        finally:
            self.connected = False

    async def _ready(self) -> None:
        """Wait until it may connect. A pause is noticed at once, whatever it waits for."""
        changed = self._subscriber.changed
        while True:
            wait_s = self._not_before_s - self._clock.monotonic_s()
            if self.paused:
                self._set("paused", "paused by request")
                self.gaps.open("paused", "paused by request", from_at=self._clock.now())
                await self._running.wait()
                self._set("disconnected", "waiting for the next attempt")
            elif not self.subscriptions.desired:
                self._set(NO_SYMBOLS, "there are no symbols to collect")
                changed.clear()
                await first_of(_wait(changed), _wait(self._paused))
            elif wait_s > 0:
                await first_of(asyncio.sleep(wait_s), _wait(self._paused))
            else:
                return

    def _set(self, state: str, cause: str) -> None:
        self.state, self._cause = state, cause

    async def _connection(self) -> float:
        """Use one connection until it ends; return the seconds to wait before the next one."""
        self._set("connecting", self.cause)
        self._proof.last_frame_at = None
        try:
            async with self._connect() as socket:
                self._begin()
                await first_of(
                    self._reader.run(socket),
                    self._subscriber.run(socket),
                    self._silence.run(),
                    self._proof.probe(socket),
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
        self.subscriptions.connected()
        self._liveness.connected(now_s=self._clock.monotonic_s())
        self._reader.begin()
        self._proof.begin()
        self.connected = True
        self.connections += 1
        self._set("collecting", "")

    def _fail(self, kind: str, text: str, *, from_at: datetime | None = None) -> None:
        cause = foreign_text(text)
        self._set("disconnected", cause)
        received_until = self._proof.received_until()
        self.gaps.open(kind, cause, from_at=min(from_at or received_until, received_until))
        log.warning("%s: %s", self._intake.notices.origin.name, cause)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()

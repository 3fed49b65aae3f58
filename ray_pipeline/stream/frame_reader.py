"""Read the frames of a connection: data, complaints of the venue, and what cannot be read."""

import asyncio
import logging
from datetime import datetime

from ray_pipeline.errors import FeedUnavailable
from ray_pipeline.foreign_text import foreign_text
from ray_pipeline.retry import Backoff
from ray_pipeline.stream.connection_ports import Clock, Socket
from ray_pipeline.stream.gaps import GapBook
from ray_pipeline.stream.ingest import Intake, Taken
from ray_pipeline.stream.liveness import Liveness
from ray_pipeline.stream.receipt_proof import ReceiptProof
from ray_pipeline.stream.subscriptions import Subscriptions

log = logging.getLogger(__name__)

# Reading a socket with a full buffer never waits. Without a pause the lease would not be renewed.
YIELD_RECORDS = 500
# The back-off starts again after data of a connection of this age. A server that closes after each
# trade would otherwise be called at full speed; with it, at most twice a minute.
SUSTAINED_S = 30.0
MOST_COMPLAINTS = 20  # of a connection are reported; a server may vary its text without end
# This number of unreadable frames in a row within this time is a flood: each becomes a dead letter,
# and they would fill the disk. At a lower rate all are kept, to be replayed by a later generation.
FLOOD_FRAMES = 1_000
FLOOD_S = 10.0


class FrameReader:
    """
    Takes the frames of one connection after the other.

    Attributes:
        complaint: The venue's newest complaint on this connection, as a cause; empty without one.
    """

    def __init__(
        self,
        intake: Intake,
        subscriptions: Subscriptions,
        liveness: Liveness,
        *,
        proof: ReceiptProof,
        gaps: GapBook,
        backoff: Backoff,
        clock: Clock,
    ) -> None:
        self._intake = intake
        self._notices = intake.notices
        self._subscriptions = subscriptions
        self._liveness = liveness
        self._proof = proof
        self._gaps = gaps
        self._backoff = backoff
        self._clock = clock
        self._connected_at_s = 0.0
        self._complaints: set[str] = set()
        self.complaint = ""

    def begin(self) -> None:
        """Begin a connection."""
        self._connected_at_s = self._clock.monotonic_s()
        self._complaints.clear()
        self.complaint = ""

    async def run(self, socket: Socket) -> None:
        """
        Take frames until the connection ends.

        Raises:
            FeedRefused: If the venue ends the connection.
            FeedUnavailable: If it is gone, or sends a flood of unreadable frames.
        """
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
                self._proof.behind = True
                await asyncio.sleep(0)
                self._proof.behind = False

    def _note(self, taken: Taken, received_at: datetime) -> None:
        self._proof.last_frame_at = received_at
        if taken.symbols:
            now_s = self._clock.monotonic_s()
            if now_s - self._connected_at_s >= SUSTAINED_S:
                self._backoff.reset()
            self._liveness.heard(taken.symbols, now_s=now_s)
            for symbol in taken.symbols:
                if not self._subscriptions.heard(symbol):
                    self._notices.counts.unsubscribed += 1
                if self._gaps.symbols:
                    self._gaps.close_symbol(symbol, to_at=received_at)
        elif taken.complaint:
            self._complain(taken.complaint, received_at)
        if self._gaps.feed is not None and self._resumed(taken, received_at):
            self._gaps.close(to_at=received_at)

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
        self.complaint = f"the provider says: {complaint}"
        log.warning("%s: %s", self._notices.origin.name, self.complaint)
        self._notices.gap(
            "refused", self.complaint, symbols=None, from_at=received_at, to_at=received_at
        )


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

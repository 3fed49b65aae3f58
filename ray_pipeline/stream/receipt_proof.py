"""Prove up to which moment everything that a venue sent was received."""

import asyncio
from datetime import datetime, timedelta

from ray_pipeline.errors import FeedUnavailable
from ray_pipeline.stream.connection_ports import Clock, Socket

PROBE_S = 2.0  # between two pings that prove that the connection is complete


class ReceiptProof:
    """
    What the frames and the pings of a connection prove.

    Attributes:
        complete_until: Everything that the venue sent before this moment was received, or is in a
            gap. None before the first connection.
        last_frame_at: When the last frame of the connection arrived; at its begin, the begin.
        behind: Whether the reader of the connection may have left frames in the queue.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.complete_until: datetime | None = None
        self.last_frame_at: datetime | None = None
        self.behind = False

    def begin(self) -> None:
        """Begin a connection."""
        self.last_frame_at = self.complete_until = self._clock.now()
        self.behind = False

    def received_until(self) -> datetime:
        """
        Return up to when the connection that ends was received; without a connection, now.

        That is the time of the last frame. A frame that is much newer than the last proof shows
        that the process was suspended or cannot keep up: newer frames may wait in the socket, and
        are lost with it. Then only the proof counts.
        """
        frame_at, proven_at = self.last_frame_at, self.complete_until
        if frame_at is None or proven_at is None:
            return self._clock.now()
        is_current = frame_at - proven_at <= timedelta(seconds=2 * PROBE_S)
        return frame_at if is_current else proven_at

    async def probe(self, socket: Socket) -> None:
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
                # The reader raises it too, after it took the frames that arrived before the end.
                await asyncio.Event().wait()
            # The answer overtakes frames that the library has queued. The reader yields only to
            # wait for a frame, when the queue is empty, or while it is behind.
            await asyncio.sleep(0)
            while self.behind:  # noqa: ASYNC110 - no event says that the reader waits
                await asyncio.sleep(0)
            self.complete_until = sent_at
            await asyncio.sleep(PROBE_S)

"""Detect the silence of a connection: subscribe again, or end it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from ray_pipeline.errors import FeedUnavailable
from ray_pipeline.stream.connection_ports import Clock
from ray_pipeline.stream.gaps import GapBook
from ray_pipeline.stream.liveness import Liveness, Stall
from ray_pipeline.stream.subscriber import Subscriber

CHECKS_PER_STALL = 8  # of the silence, in the time that makes it a stall
LONGEST_CHECK_PAUSE_S = 1.0


class FeedStalled(FeedUnavailable):
    """
    The connection is open but delivers no data.

    Attributes:
        since: When the silence began.
    """

    def __init__(self, message: str, *, since: datetime) -> None:
        super().__init__(message)
        self.since = since


class SilenceWatch:
    """Compares the silence of the symbols and of the feed with what is usual."""

    def __init__(
        self,
        liveness: Liveness,
        subscriber: Subscriber,
        gaps: GapBook,
        *,
        liveness_s: float,
        clock: Clock,
    ) -> None:
        self._liveness = liveness
        self._subscriber = subscriber
        self._gaps = gaps
        self._pause_s = min(LONGEST_CHECK_PAUSE_S, liveness_s / CHECKS_PER_STALL)
        self._clock = clock

    async def run(self) -> None:
        """
        Check the silence until cancelled; subscribe again to a silent symbol.

        Raises:
            FeedStalled: If the feed is silent, or if a symbol stays silent after a subscription.
        """
        while True:
            slept_from_s = self._clock.monotonic_s()
            await asyncio.sleep(self._pause_s)
            now_s = self._clock.monotonic_s()
            if now_s - slept_from_s > 2 * self._pause_s:
                # The process was suspended, or busy. The silence may be its own: data may wait in
                # the socket, or be repeated by the venue's TCP. The reader must have its turn.
                self._liveness.resumed(now_s=now_s)
                continue
            self._check(now_s, self._clock.now())

    def _check(self, now_s: float, now: datetime) -> None:
        silent_s = self._liveness.feed_silence_s(now_s=now_s, wall_s=now.timestamp())
        if silent_s is not None:
            raise FeedStalled(
                f"no data of any symbol for {silent_s:.0f} s, though the market is open",
                since=now - timedelta(seconds=silent_s),
            )
        stalls = self._liveness.stalls(now_s=now_s, wall_s=now.timestamp())
        for stall in stalls:
            self._subscribe_again(stall, now)
        # A symbol that never had data may not exist, so it does not cost a reconnect.
        still_silent = [stall.symbol for stall in stalls if stall.has_had_data and stall.repeated]
        if still_silent:
            raise FeedStalled(
                f"still no data of {_abridged(still_silent)} after subscribing again", since=now
            )

    def _subscribe_again(self, stall: Stall, now: datetime) -> None:
        """Open the symbol's gap and subscribe to it again."""
        self._gaps.open_symbol(
            stall.symbol,
            "stalled",
            f"silent for {stall.silent_s:.0f} s in an open market; subscribed again",
            from_at=now - timedelta(seconds=stall.silent_s),
        )
        self._subscriber.ask_again([stall.symbol])


def _abridged(symbols: Sequence[str]) -> str:
    shown = ", ".join(symbols[:5])
    return shown if len(symbols) <= 5 else f"{shown} and {len(symbols) - 5} more"

"""A recording that is sent once, and when each of its frames is due."""

from collections.abc import Sequence, Set

from ray_pipeline.simulators.recording import Frame


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

"""What one client may do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """
    Limits of WebSockets.

    Attributes:
        clients: Most clients at one time; a socket is a client once its token has been checked.
        unauthenticated: Most sockets at one time that have not shown a token yet.
        refusals_per_s, refusals_burst: How many sockets that showed no valid token are told so
            before they are closed. A farewell keeps a connection open until the other side answers
            it, for ten seconds at most; the others are closed without one.
        interval_s: Least time between two messages of values.
        heartbeat_s: Longest silence.
        slow_s: A client that takes longer than this to accept a message is let go.
        close_s: How long a client may take to hear why it is let go.
        token_s: How long a client may take to show its token.
        symbols: Most subscriptions.
        message_bytes: Largest message it may send.
        messages_per_s, messages_burst: Most messages it may send.
    """

    clients: int = 2_000
    unauthenticated: int = 400
    refusals_per_s: float = 20.0
    refusals_burst: int = 50
    interval_s: float = 1.0
    heartbeat_s: float = 15.0
    slow_s: float = 5.0
    close_s: float = 10.0
    token_s: float = 5.0
    symbols: int = 1_000
    message_bytes: int = 16 * 1024
    messages_per_s: float = 10.0
    messages_burst: int = 50


class Allowance:
    """A bucket of messages that fills with time."""

    def __init__(self, *, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = float(burst)
        self._at_s = 0.0

    def take(self, *, now_s: float) -> bool:
        """Take one; False when there is none."""
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

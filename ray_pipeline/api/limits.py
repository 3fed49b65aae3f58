"""Limits of WebSocket clients."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """
    Limits of WebSockets.

    Attributes:
        clients: Maximum of clients; a socket is a client once its token has been checked.
        unauthenticated: Maximum of sockets that have not sent a token yet.
        refusals_per_s, refusals_burst: Sockets without a valid token that are closed with a reason.
            Such a close keeps the connection until the other side confirms it, for ten seconds at
            most; further sockets are dropped without a reason.
        interval_s: Minimum time between two messages with values.
        heartbeat_s: Maximum time between two messages.
        slow_s: A client that takes longer to accept a message is closed.
        close_s: How long a client may take to confirm the close.
        token_s: How long a client may take to send its token.
        symbols: Maximum of subscriptions.
        message_bytes: Maximum size of a message from a client.
        messages_per_s, messages_burst: Maximum rate of messages from a client.
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


class TokenBucket:
    """A token bucket: `burst` tokens at first, refilled at `per_s` tokens a second."""

    def __init__(self, *, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = float(burst)
        self._at_s = 0.0

    def take(self, *, now_s: float) -> bool:
        """Take one token; return False if the bucket is empty."""
        # Refilled on demand from the time that passed: no timer, and no cost for an idle client.
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

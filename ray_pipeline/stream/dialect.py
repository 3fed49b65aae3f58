"""Which frame brings a connection closer to its desired subscriptions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ray_pipeline.feeds.protocol import AllSymbols, PerSymbol
from ray_pipeline.stream.subscriptions import Subscriptions


@dataclass(frozen=True, slots=True)
class Request:
    """A frame to send, and the symbols that it adds and drops."""

    frame: str
    added: Sequence[str] = ()
    dropped: Sequence[str] = ()


def next_request(
    subscription: PerSymbol | AllSymbols,
    subscriptions: Subscriptions,
    *,
    new_ticket: Callable[[], str],
) -> Request | None:
    """Return the next frame to send; None if the connection has its desired subscriptions."""
    if isinstance(subscription, PerSymbol):
        return _for_one_symbol(subscription, subscriptions)
    if subscriptions.complete() or not subscriptions.desired:
        return None
    return Request(
        subscription.subscribe(new_ticket(), subscriptions.desired),
        added=subscriptions.missing(),
        dropped=subscriptions.surplus(),
    )


def _for_one_symbol(subscription: PerSymbol, subscriptions: Subscriptions) -> Request | None:
    """Unsubscribe first: the venue limits the number of simultaneous subscriptions."""
    for symbol in subscriptions.surplus():
        return Request(subscription.unsubscribe(symbol), dropped=(symbol,))
    for symbol in subscriptions.missing():
        return Request(subscription.subscribe(symbol), added=(symbol,))
    return None

"""Which frame brings a connection closer to its desired subscriptions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ray_pipeline.feeds.protocol import AllSymbols, PerSymbol
from ray_pipeline.stream.subscriptions import Subscriptions


@dataclass(frozen=True, slots=True)
class SubscriptionRequest:
    """A frame to send, and the symbols that it adds and drops."""

    frame: str
    added: Sequence[str] = ()
    dropped: Sequence[str] = ()


def next_request(
    subscription: PerSymbol | AllSymbols,
    subscriptions: Subscriptions,
    *,
    new_ticket: Callable[[], str],
) -> SubscriptionRequest | None:
    """Return the next frame to send; None if the connection has its desired subscriptions."""
    if isinstance(subscription, PerSymbol):
        return _for_one_symbol(subscription, subscriptions)
    if subscriptions.complete() or not subscriptions.desired:
        return None
    return SubscriptionRequest(
        subscription.subscribe(new_ticket(), subscriptions.desired),
        added=subscriptions.missing(),
        dropped=subscriptions.surplus(),
    )


def _for_one_symbol(
    subscription: PerSymbol, subscriptions: Subscriptions
) -> SubscriptionRequest | None:
    """Unsubscribe first: the venue limits the number of simultaneous subscriptions."""
    for symbol in subscriptions.surplus():
        return SubscriptionRequest(subscription.unsubscribe(symbol), dropped=(symbol,))
    for symbol in subscriptions.missing():
        return SubscriptionRequest(subscription.subscribe(symbol), added=(symbol,))
    return None

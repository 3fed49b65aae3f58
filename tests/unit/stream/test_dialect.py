"""The frames that bring a connection to its desired subscriptions."""

from ray_pipeline.feeds.protocol import AllSymbols, PerSymbol
from ray_pipeline.stream.dialect import SubscriptionRequest, next_request
from ray_pipeline.stream.subscriptions import Subscriptions

PER_SYMBOL = PerSymbol(lambda symbol: f"+{symbol}", lambda symbol: f"-{symbol}")
ALL_SYMBOLS = AllSymbols(lambda ticket, symbols: f"{ticket}:{','.join(symbols)}")


def requests(subscription, subscriptions: Subscriptions) -> list[SubscriptionRequest]:
    """Return every request until the subscriptions are as desired."""
    sent = []
    while request := next_request(subscription, subscriptions, new_ticket=lambda: "t"):
        subscriptions.asked(added=request.added, dropped=request.dropped)
        sent.append(request)
    return sent


def test_a_frame_per_symbol_unsubscribes_first():
    """The venue limits the number of simultaneous subscriptions."""
    subscriptions = Subscriptions()
    subscriptions.want(["A", "B"])
    requests(PER_SYMBOL, subscriptions)

    subscriptions.want(["B", "C"])

    assert [one.frame for one in requests(PER_SYMBOL, subscriptions)] == ["-A", "+C"]


def test_one_frame_for_all_symbols_replaces_the_previous_one():
    subscriptions = Subscriptions()
    subscriptions.want(["A", "B"])
    requests(ALL_SYMBOLS, subscriptions)

    subscriptions.want(["B", "C"])

    assert requests(ALL_SYMBOLS, subscriptions) == [
        SubscriptionRequest("t:B,C", added=["C"], dropped=["A"])
    ]
    assert subscriptions.complete()

"""Desired against confirmed subscriptions."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ray_pipeline.stream.subscriptions import Subscriptions

SYMBOL = st.sampled_from("ABCDEFGH")


class Exchange(RuleBasedStateMachine):
    """A connection, and the truth about what it is subscribed to."""

    def __init__(self) -> None:
        super().__init__()
        self.subscriptions = Subscriptions()
        self.truth: set[str] = set()
        self.wanted: list[str] = []

    @rule(symbols=st.lists(SYMBOL, unique=True))
    def want(self, symbols):
        """A symbol that stays is neither subscribed again nor unsubscribed."""
        stayers = self.truth & set(symbols)
        self.subscriptions.want(symbols)
        self.wanted = symbols
        assert stayers.isdisjoint(self.subscriptions.missing())
        assert stayers.isdisjoint(self.subscriptions.surplus())

    @rule()
    def send_one(self):
        for symbol in self.subscriptions.surplus()[:1]:
            self.truth.remove(symbol)
            self.subscriptions.asked(dropped=[symbol])
            return
        for symbol in self.subscriptions.missing()[:1]:
            self.truth.add(symbol)
            self.subscriptions.asked(added=[symbol])

    @rule()
    def reconnect(self):
        self.truth.clear()
        self.subscriptions.connected()
        assert self.subscriptions.missing() == self.wanted

    @rule(symbol=SYMBOL)
    def data(self, symbol):
        assert self.subscriptions.heard(symbol) == (symbol in self.wanted)

    @rule(symbol=SYMBOL)
    def silence(self, symbol):
        if symbol in self.truth:
            self.truth.discard(symbol)
            self.subscriptions.ask_again(symbol)
            assert (symbol in self.subscriptions.missing()) == (symbol in self.wanted)

    @invariant()
    def the_difference_leads_to_the_wish(self):
        after = self.truth - set(self.subscriptions.surplus()) | set(self.subscriptions.missing())
        assert after == set(self.wanted)

    @invariant()
    def complete_means_nothing_to_send(self):
        nothing = not self.subscriptions.missing() and not self.subscriptions.surplus()
        assert self.subscriptions.complete() == nothing

    @invariant()
    def only_wanted_symbols_are_confirmed(self):
        assert self.subscriptions.confirmed <= len(self.wanted)


TestExchange = Exchange.TestCase

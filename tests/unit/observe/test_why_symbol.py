"""Why a symbol is fresh or not."""

import pytest

from ray_pipeline.observe.status import Status, UncoveredSymbols
from ray_pipeline.observe.why import Explanation
from ray_pipeline.observe.why_symbol import ListedSymbol, explain_symbol

FEED = Explanation("sp500", True, "sp500 is fresh: its newest record came 1 s ago.")
UNCOVERED = UncoveredSymbols("sp500", "shard 3: no API key: 2 set, shard 3 needs 3", ("MSFT",))
PAGE = Status((), (), (), (), (UNCOVERED,))


def test_a_symbol_without_a_producer_has_the_reason_of_the_status_page():
    """Its feed is fresh, and so may its last record be."""
    answer = explain_symbol(ListedSymbol("sp500", "MSFT", 2.0), FEED, PAGE)

    assert not answer.fresh
    assert answer.sentence == (
        "MSFT of sp500 is not collected: shard 3: no API key: 2 set, shard 3 needs 3."
    )


@pytest.mark.parametrize(
    ("age_s", "fresh", "text"),
    [(2.0, True, "its newest record came 2"), (None, False, "no record of it is stored")],
)
def test_a_collected_symbol_names_its_newest_record_and_its_feed(age_s, fresh, text):
    """A symbol that is seldom traded is as fresh as its feed."""
    answer = explain_symbol(ListedSymbol("sp500", "AAPL", age_s), FEED, PAGE)

    assert answer.fresh is fresh
    assert text in answer.sentence
    assert FEED.sentence in answer.sentence

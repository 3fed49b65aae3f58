"""Live actors in a notebook, with an actor that needs no cluster."""

import pytest

from ray_pipeline.errors import PipelineError, Unavailable
from ray_pipeline.notebook.actors import Actors, summary
from ray_pipeline.notebook.background import Background

PRODUCER = {
    "state": "streaming", "cause": "", "confirmed": 2, "wanted": 3, "received": 1_234,
    "pending": 0, "last_data_at": None, "pid": 7,
}  # fmt: skip
CONSUMER = {
    "state": "waiting", "cause": "for Postgres", "partitions": [0, 1], "stored": 9,
    "lag": {0: 4, 1: 5}, "last_stored_at_s": None, "pid": 8,
}  # fmt: skip


class Handle:
    """Answers from a dict of results, and keeps the calls."""

    def __init__(self, **results):
        self.results, self.calls = results, []

    async def call(self, method, *arguments):
        self.calls.append((method, *arguments))
        result = self.results.get(method)
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture
def producers():
    background = Background()
    handles = {
        "sp500-01": Handle(status=PRODUCER, resubscribe=["AAPL"]),
        "sp500-02": Handle(status=Unavailable("died"), resubscribe=[]),
    }
    yield Actors(background, handles, kind="producer"), handles
    background.close()


def test_the_table_has_a_row_for_each_actor_also_for_an_unreachable_one(producers):
    """Its cause is the error."""
    table = producers[0].table()

    assert table.loc["sp500-01", "symbols"] == "2/3"
    assert table.loc["sp500-02", ["state", "cause"]].tolist() == ["unreachable", "died"]


def test_an_actor_is_shown_in_one_line(producers):
    """Without the columns that are empty."""
    assert repr(producers[0]["sp500-01"]) == (
        "<Producer sp500-01: streaming, 2/3 symbols, 1,234 records, lag 0>"
    )


def test_commands_reach_the_actor(producers):
    """One symbol needs no list."""
    actors, handles = producers

    actors["sp500-01"].pause()
    actors["sp500-01"].resume()

    assert actors["sp500-01"].resubscribe("AAPL") == ["AAPL"]
    assert handles["sp500-01"].calls == [("pause",), ("resume",), ("resubscribe", ["AAPL"])]


def test_symbols_that_an_actor_does_not_collect_are_an_error(producers):
    """So is a name that no actor has."""
    actors, _ = producers

    with pytest.raises(PipelineError, match="sp500-02 collects none of AAPL"):
        actors["sp500-02"].resubscribe(["AAPL"])
    with pytest.raises(
        PipelineError, match=r"no producer 'x'\n  fix: there are sp500-01, sp500-02"
    ):
        actors["x"]


def test_a_consumer_shows_the_lag_of_all_its_partitions():
    """In the columns of a producer."""
    assert summary(CONSUMER) == {
        "state": "waiting", "cause": "for Postgres", "symbols": None, "records": 9, "lag": 9,
        "last_record": None, "pid": 8,
    }  # fmt: skip

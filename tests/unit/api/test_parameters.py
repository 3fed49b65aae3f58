"""The parameters of the routes."""

from datetime import UTC, datetime

import pytest

from ray_pipeline.api import cursor
from ray_pipeline.api.answers import BadRequest
from ray_pipeline.api.parameters import MAX_SYMBOLS, PagingParameters, symbols_in
from ray_pipeline.storage.postgres.pages import PageRequest

NOON = datetime(2024, 11, 4, 12, tzinfo=UTC)
KEY = (5, 1, 2, 3, NOON)


def test_each_symbol_is_read_once_in_order():
    """A repeated symbol costs nothing."""
    assert symbols_in("MSFT,AAPL,MSFT") == ["MSFT", "AAPL"]


@pytest.mark.parametrize("text", ["", "aapl", "AAPL,", "AAPL;DROP", "A" * 33])
def test_anything_else_is_refused(text):
    """With an example."""
    with pytest.raises(BadRequest, match="not a symbol"):
        symbols_in(text)


def test_the_number_of_symbols_is_bounded():
    """Exactly the maximum is allowed."""
    names = [f"S{number}" for number in range(MAX_SYMBOLS + 1)]

    assert len(symbols_in(",".join(names[:-1]))) == MAX_SYMBOLS
    with pytest.raises(BadRequest, match="more than"):
        symbols_in(",".join(names))


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (None, None),
        ("2024-11-04T12:00:00Z", NOON),
        ("2024-11-04T21:00:00+09:00", NOON),
        (cursor.write(KEY), KEY),
    ],
)
def test_a_page_begins_after_a_time_or_a_key(after, expected):
    """Without either it is the first page."""
    request = PagingParameters(after=after, limit=7, order="newest").request("A", cursor.RECORDS)

    assert request == PageRequest("A", expected, limit=7, newest_first=True)


def test_a_key_of_another_route_is_refused():
    """The key of a bar is not one of a record."""
    with pytest.raises(BadRequest):
        PagingParameters(after=cursor.write(NOON)).request("A", cursor.RECORDS)

"""The columns of frames of history, from the records of each feed."""

import pytest

from ray_pipeline.catalog import FEEDS
from ray_pipeline.notebook.frames import Kind
from ray_pipeline.notebook.shapes import EVENT_TIME, event_column, history


@pytest.mark.parametrize("spec", FEEDS, ids=lambda spec: spec.name)
def test_history_begins_with_the_event_time(spec):
    """It is the index; the stored milliseconds are a column of their own."""
    shape = history(spec)

    assert next(iter(shape.columns)) == EVENT_TIME
    assert shape.index == (EVENT_TIME,)
    assert shape.columns[event_column(spec)] is Kind.WHOLE


def test_optional_fields_have_the_type_of_their_value():
    """`None` in a union says only that a value may be missing."""
    columns = history(FEEDS[0]).columns

    assert columns["price"] is Kind.NUMBER
    assert columns["trade_conditions"] is Kind.TEXTS
    assert columns["created_at"] is Kind.TIME

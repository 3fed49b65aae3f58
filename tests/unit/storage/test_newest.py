"""The event time of a value in Redis, as the audit compares it."""

import pytest

from ray_pipeline.storage.newest import held_ms


@pytest.mark.parametrize(
    ("claim", "value", "event_ms"),
    [
        ("5", '{"event_time_ms": 5}', 5),
        (b"5", b'{"event_time_ms": 7}', 5),
        ("7", '{"event_time_ms": 5}', 5),
        (None, '{"event_time_ms": 5}', 0),
        ("5", None, 0),
        ("5", "not JSON", 0),
        ("five", '{"event_time_ms": 5}', 0),
        ("5", '{"price": 1}', 0),
        ("5", "[]", 0),
    ],
)
def test_the_older_of_claim_and_value_counts(claim, value, event_ms):
    """A part that is missing or unreadable counts as no value at all."""
    assert held_ms(claim, value) == event_ms

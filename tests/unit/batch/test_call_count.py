"""Each call is stored once, however the transactions that store it overlap or fail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.batch.call_count import CallCount


@given(st.lists(st.sampled_from(["call", "store", "fail"]), max_size=40))
def test_every_call_is_stored_once(steps):
    calls, stored = CallCount(), 0
    for step in [*steps, "store"]:
        if step == "call":
            calls.add()
        elif step == "store":
            with calls.unstored() as count:
                stored += count
        else:
            with pytest.raises(OSError, match="disk"), calls.unstored():
                raise OSError("disk")

    assert stored == calls.total == steps.count("call")


def test_overlapping_transactions_share_no_call():
    calls = CallCount()
    calls.add()

    with calls.unstored() as first:
        calls.add()
        with calls.unstored() as second:
            pass

    assert (first, second) == (1, 1)

"""The token bucket."""

from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.api.limits import TokenBucket


@given(pauses_s=st.lists(st.floats(0, 3), min_size=1, max_size=200))
def test_an_allowance_is_never_more_than_its_burst_and_its_rate(pauses_s):
    """Whatever the rhythm."""
    allowance, now_s, taken = TokenBucket(per_s=2, burst=5), 100.0, 0
    for pause_s in pauses_s:
        now_s += pause_s
        taken += allowance.take(now_s=now_s)

    assert taken <= 5 + sum(pauses_s) * 2 + 1e-6


def test_a_bucket_never_holds_more_than_its_burst():
    """However long it was idle."""
    bucket = TokenBucket(per_s=10.0, burst=3)

    assert [bucket.take(now_s=1_000.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(now_s=9_000.0) for _ in range(4)] == [True, True, True, False]

"""Back-off: full jitter under a bound that doubles."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.retry import Backoff


@given(
    base_s=st.floats(0.01, 10.0),
    cap_s=st.floats(0.01, 600.0),
    failures=st.integers(1, 80),
    seed=st.integers(0, 1000),
)
def test_no_wait_is_longer_than_its_bound(base_s, cap_s, failures, seed):
    """The bound doubles with every failure and stops at the cap."""
    backoff = Backoff(base_s=base_s, cap_s=cap_s, random=Random(seed))

    for failure in range(failures):
        assert 0.0 <= backoff.next_s() <= min(cap_s, base_s * 2**failure)


def test_it_never_gives_up():
    """Ten thousand failures later it still answers, and no number has overflowed."""
    backoff = Backoff(base_s=0.5, cap_s=60.0, random=Random(1))

    assert max(backoff.next_s() for _ in range(10_000)) <= 60.0


def test_data_resets_it():
    backoff = Backoff(base_s=1.0, cap_s=1_000.0, random=Random(1))
    for _ in range(10):
        backoff.next_s()

    backoff.reset()

    assert backoff.next_s() <= 1.0


def test_two_shards_do_not_come_back_together():
    """The whole range is used: a storm of reconnects spreads."""
    waits_s = [Backoff(base_s=8.0, cap_s=8.0, random=Random(n)).next_s() for n in range(200)]

    assert min(waits_s) < 1.0
    assert max(waits_s) > 7.0

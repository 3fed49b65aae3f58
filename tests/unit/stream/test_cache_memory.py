"""The memory of latest values, from the number of symbols, the retention and the measured sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.stream.cache_memory import MEGABYTE, cache_need

TTL_S = 432_000


def test_a_budget_holds_hours_of_hundreds_of_symbols():
    """Five days of them would need a thousand times the memory."""
    need = cache_need(500, ttl_s=TTL_S, budget_bytes=128 * MEGABYTE, realtime_keys=60)

    assert need.retention_s == pytest.approx(2_900, rel=0.02)
    assert need.whole_bytes > 17_000 * MEGABYTE
    assert need.latest_bytes == 500_000


def test_a_few_symbols_keep_the_whole_retention():
    assert cache_need(2, ttl_s=3_600, budget_bytes=MEGABYTE, realtime_keys=60).retention_s == 3_600


@given(
    symbols=st.integers(0, 100_000),
    budget_mb=st.integers(1, 10_000),
    maximum_mb=st.integers(0, 10_000),
)
def test_the_suggested_budget_fits_if_any_does(symbols, budget_mb, maximum_mb):
    """The fix of a check must make the check succeed."""
    maximum_bytes = maximum_mb * MEGABYTE
    need = cache_need(symbols, ttl_s=TTL_S, budget_bytes=budget_mb * MEGABYTE, realtime_keys=60)
    if need.exceeds(maximum_bytes) and need.latest_bytes + MEGABYTE < maximum_bytes * 0.9:
        suggested = need.largest_budget_mb(maximum_bytes) * MEGABYTE
        repaired = cache_need(symbols, ttl_s=TTL_S, budget_bytes=suggested, realtime_keys=60)
        assert not repaired.exceeds(maximum_bytes)

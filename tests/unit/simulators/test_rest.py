"""The simulated providers count calls as the providers do, without the margin of the ledger."""

from datetime import timedelta

import pytest

from ray_pipeline.providers.quota import DAY, MINUTE, SECOND, Window, sliding
from ray_pipeline.simulators.rest import counted_s


@pytest.mark.parametrize("period", [SECOND, MINUTE, timedelta(minutes=15), DAY])
def test_a_sliding_window_is_counted_without_its_margin(period):
    assert counted_s(sliding(5, period)) == pytest.approx(period.total_seconds(), abs=1e-5)


def test_a_calendar_window_is_counted_over_its_length():
    assert counted_s(Window(25, reset="day")) == 86_400
    assert counted_s(Window(100, reset="month")) == 30 * 86_400

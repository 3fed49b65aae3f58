"""The rate and the lag of each feed over the last hour."""

import asyncio
from dataclasses import replace

import pytest

from ray_pipeline.api.throughput import MAX_SAMPLES, ThroughputHistory
from ray_pipeline.errors import DatabaseUnavailable
from tests.unit.observe.test_status import ROW


async def nothing():
    return []


def later(number):
    """The row of a feed that stores five records a second, `number` samples later."""
    return replace(ROW, stored=100 + 10 * number, sampled_at_s=1_000.0 + 2 * number, lag=number)


def test_the_second_sample_has_the_first_rate():
    """A single sample has no predecessor."""
    history = ThroughputHistory(nothing)
    history.add([ROW])
    assert (history.points(), history.rates()) == ([], {"sp500": None})

    history.add([later(1)])

    assert history.rates() == {"sp500": 5.0}
    assert history.points() == [
        {
            "at_s": 1_002.0,
            "feeds": {"sp500": {"records_per_s": 5.0, "lag": 1, "last_record_age_s": 0.5}},
        }
    ]


def test_the_history_is_bounded():
    """The oldest samples go first."""
    history = ThroughputHistory(nothing)
    for number in range(MAX_SAMPLES + 10):
        history.add([later(number)])

    points = history.points()
    assert len(points) == MAX_SAMPLES
    assert points[-1]["at_s"] == 1_000.0 + 2 * (MAX_SAMPLES + 9)


@pytest.mark.parametrize("error", [DatabaseUnavailable("down"), ValueError("an unreadable row")])
async def test_a_sample_that_fails_does_not_end_sampling(error):
    """The next one is taken."""
    results = [[later(0)], error, [later(1)]]

    async def read():
        if not results:
            raise asyncio.CancelledError
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    history = ThroughputHistory(read)
    with pytest.raises(asyncio.CancelledError):
        await history.run(period_s=0.0)

    assert history.rates() == {"sp500": 5.0}

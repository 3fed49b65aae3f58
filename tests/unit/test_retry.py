"""Back-off: full jitter under a bound that doubles."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.retry import Backoff, retrying


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


class Attempts:
    """Fails with the given errors, then succeeds; records the pauses."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.pauses_s: list[float] = []

    async def attempt(self) -> str:
        if self._errors:
            raise self._errors.pop(0)
        return "done"

    async def sleep(self, seconds: float) -> None:
        self.pauses_s.append(seconds)


async def test_retrying_returns_the_first_success_and_reports_each_failure():
    """The pauses are those of the backoff, which the success resets."""
    first, second = OSError("first"), OSError("second")
    attempts, failures = Attempts(first, second), []
    backoff = Backoff(base_s=1.0, cap_s=60.0, random=Random(1))
    expected = Backoff(base_s=1.0, cap_s=60.0, random=Random(1))

    result = await retrying(
        attempts.attempt, OSError, failed=failures.append, backoff=backoff, sleep=attempts.sleep
    )

    assert result == "done"
    assert failures == [first, second]
    assert attempts.pauses_s == [expected.next_s(), expected.next_s()]
    assert backoff.next_s() <= 1.0


async def test_retrying_ends_when_the_report_of_a_failure_raises():
    """Some failures of a class are final."""
    attempts = Attempts(OSError("final"), OSError("never seen"))

    def failed(error: OSError) -> None:
        raise error

    with pytest.raises(OSError, match="final"):
        await retrying(
            attempts.attempt,
            OSError,
            failed=failed,
            backoff=Backoff(base_s=1.0, cap_s=60.0, random=Random(1)),
            sleep=attempts.sleep,
        )

    assert attempts.pauses_s == []


async def test_retrying_raises_any_other_error_at_once():
    """Only the named errors are worth another attempt."""
    attempts = Attempts(KeyError("other"))

    with pytest.raises(KeyError):
        await retrying(
            attempts.attempt,
            OSError,
            failed=lambda _: None,
            backoff=Backoff(base_s=1.0, cap_s=60.0, random=Random(1)),
            sleep=attempts.sleep,
        )

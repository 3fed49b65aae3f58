"""The circuit breaker opens after failures in a row, and only then."""

import pytest

from ray_pipeline.batch.circuit_breaker import CircuitBreaker, CircuitOpen


def test_it_opens_at_the_limit():
    breaker = CircuitBreaker(3)
    for _ in range(2):
        breaker.record(failed=True)
        breaker.check("X", "down")
    breaker.record(failed=True)

    with pytest.raises(CircuitOpen, match="X fails for every item: down"):
        breaker.check("X", "down")


def test_a_success_resets_the_count():
    breaker = CircuitBreaker(2)
    for failed in (True, False, True, False, True):
        breaker.record(failed=failed)
        breaker.check("X", "down")

    breaker.record(failed=True)
    with pytest.raises(CircuitOpen):
        breaker.check("X", "down")

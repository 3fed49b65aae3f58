"""The providers' log of calls against their quotas: FRED permits 2 calls a second."""

from tests.chaos.quotas import exceeded, read_calls


def calls(*moments_s: float, provider: str = "fred", key: str = "k"):
    """Return calls at these moments of both clocks."""
    return read_calls(f"{moment_s} {moment_s} {provider} {key}\n" for moment_s in moments_s)


def test_a_quota_that_is_used_up_is_not_exceeded():
    """Two calls a second, again and again."""
    assert exceeded(calls(0.0, 0.1, 1.0, 1.1, 2.0, 2.1)) == []


def test_one_call_too_many_is_found():
    """The third within a second."""
    assert "3 calls within 0.900 s" in exceeded(calls(0.0, 0.1, 0.9, 2.0))[0]


def test_keys_have_quotas_of_their_own():
    """Three calls of two keys."""
    assert exceeded([*calls(0.0, 0.1), *calls(0.2, key="other")]) == []


def test_a_day_is_counted_by_the_calendar():
    """Alpha Vantage permits 25 calls a day of New York."""
    spread = [20.0 * number for number in range(26)]

    assert "more than 25 calls" in exceeded(calls(*spread, provider="alpha_vantage"))[0]
    assert exceeded(calls(*spread[:25], provider="alpha_vantage")) == []

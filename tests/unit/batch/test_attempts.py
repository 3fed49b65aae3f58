"""One request: permits, retries, and what each refusal does to the key and to the item."""

from datetime import timedelta

import pytest

from ray_pipeline.batch import attempts
from ray_pipeline.batch.attempts import (
    ATTEMPTS,
    BLOCKED_PAUSE,
    LARGEST_BYTES,
    QUOTA_PAUSE,
    RATE_PAUSE_S,
    Deferred,
    SourceCaller,
    cooldown_pause,
)
from ray_pipeline.batch.permits import NotBefore
from ray_pipeline.batch.results import Collected
from ray_pipeline.errors import (
    AnswerTooLarge,
    DatabaseUnavailable,
    ProviderUnavailable,
    RedirectRefused,
)
from ray_pipeline.jobs.spec import Request
from ray_pipeline.providers.refusals import Refusal, Verdict
from ray_pipeline.transport.retry_after import RetryAfter
from tests.batch_runs import KEY, NOW, PLENTY, RUN, SCARCE, FakePorts, Price, job, source

REQUEST = Request("A", "/A")
DOWN = ProviderUnavailable("connection refused")


@pytest.fixture
def ports() -> FakePorts:
    """Fakes that permit and answer every call."""
    return FakePorts()


async def call(ports: FakePorts, *answers: str | Exception, size: int = LARGEST_BYTES):
    if answers:
        ports.fetcher.answers = {"A": list(answers)}
    return await caller(ports).call(REQUEST, largest_bytes=size)


def caller(ports: FakePorts) -> SourceCaller:
    spec = job(source("first", "A"))
    return SourceCaller(spec, RUN, spec.sources[0], ports.dependencies())


async def test_a_permitted_call_is_made_with_the_permitted_key(ports):
    result = await call(ports, "[5]")

    assert (result.state, result.rows, ports.calls.total) == ("done", (Price("A", 5),), 1)
    assert ports.fetcher.keys == [KEY]
    assert ports.limiter.requests == [("prices", False)]
    assert ports.limiter.permitted == 1


async def test_an_answered_call_is_reported_to_the_ledger(ports):
    await call(ports, "[5]")

    assert ports.limiter.answered == [0]


async def test_a_client_that_fails_before_its_call_costs_the_item_and_no_call(ports):
    class UnusableClient:
        async def fetch(self, _provider, _request, **_options):
            raise RuntimeError("not installed")

    ports.fetcher = UnusableClient()

    result = await call(ports)

    assert (result.state, ports.calls.total) == ("failed", 0)


async def test_a_ledger_that_is_away_after_the_call_costs_no_answer(ports):
    """The ledger then assumes the latest arrival of the call."""

    async def unavailable(_ids):
        raise DatabaseUnavailable("it does not answer")

    ports.limiter.finished = unavailable

    assert (await call(ports, "[5]")).state == "done"


async def test_a_short_wait_for_a_permit_is_waited_out(ports):
    # The ledger's clock is ahead of this one: only the difference that it computed counts.
    ports.limiter.answers = [NotBefore(NOW + timedelta(hours=1), "60/min", wait_s=30.0)]

    result = await call(ports, "[5]")

    assert result.state == "done"
    assert ports.clock.slept == [30.0]


async def test_a_long_wait_for_a_permit_defers_before_any_call(ports):
    until = NOW + timedelta(hours=9)
    ports.limiter.answers = [NotBefore(until, f"25/day of {KEY}")]

    with pytest.raises(Deferred) as deferral:
        await call(ports)

    assert deferral.value.until == until
    assert KEY not in deferral.value.reason
    assert ports.fetcher.calls == []


async def test_a_provider_that_recovers_costs_its_calls_and_nothing_else(ports):
    result = await call(ports, DOWN, "{cut", "[5]")

    assert (result.state, ports.calls.total) == ("done", 3)
    first, second = ports.clock.slept
    assert 0 <= first <= 2
    assert 0 <= second <= 4


@pytest.mark.parametrize("answer", [DOWN, ValueError("odd"), "refuse:server:HTTP 503", "{cut"])
async def test_a_provider_that_stays_down_fails_the_item(ports, answer):
    result = await call(ports, answer)

    assert (result.state, ports.calls.total) == ("failed", ATTEMPTS)
    assert result.why.startswith("4 attempts: ")
    assert not result.is_refusal
    assert len(ports.clock.slept) == ATTEMPTS - 1


@pytest.mark.parametrize("kind", ["plan", "request"])
async def test_a_final_refusal_under_http_200_is_not_repeated(ports, kind):
    result = await call(ports, f"refuse:{kind}:no")

    assert (result.state, result.why, result.is_refusal) == ("failed", "refused: no", True)
    assert ports.calls.total == 1
    assert ports.limiter.cooldowns == []


async def test_an_item_that_the_provider_does_not_know_is_left_for_a_week(ports):
    result = await call(ports, "refuse:not_found:no such symbol")

    assert (result.state, result.why) == ("not_found", "no such symbol")
    assert result.not_before == NOW + timedelta(days=7)


@pytest.mark.parametrize("kind", ["quota", "key"])
async def test_refused_keys_do_not_count_as_attempts(ports, kind):
    """Five keys may be refused one after the other; the sixth collects the item."""
    result = await call(ports, *[f"refuse:{kind}:used up"] * 5, "[5]")

    assert (result.state, ports.calls.total) == ("done", 6)
    assert len(ports.limiter.cooldowns) == 5
    assert ports.clock.slept == []


async def test_a_rate_limit_puts_the_key_into_cooldown_and_counts(ports):
    result = await call(ports, "refuse:rate:slow down")

    assert result.state == "failed"
    pauses = {pause for _, pause, _ in ports.limiter.cooldowns}
    assert len(ports.limiter.cooldowns) == ATTEMPTS
    assert pauses == {timedelta(seconds=RATE_PAUSE_S)}


async def test_the_reason_of_a_cooldown_names_the_pause_that_the_provider_requests(
    ports, monkeypatch
):
    """`quotas`, and the reason of the run."""
    pause = RetryAfter("1e9", 86_400.0)
    refusal = Verdict(Refusal.RATE, "slow down", pause)
    monkeypatch.setattr(attempts, "read", lambda *_: refusal)

    result = await call(ports, "[5]")

    shown = "slow down; the provider asked for 1e9, waiting 86400 s"
    assert ports.limiter.cooldowns[0] == ("first", timedelta(days=1), shown)
    assert result.why == f"4 attempts: {shown}"


async def test_a_blocked_address_defers_the_run(ports):
    with pytest.raises(Deferred) as deferral:
        await call(ports, "refuse:blocked:Cloudflare")

    assert deferral.value.until == NOW + BLOCKED_PAUSE
    assert ports.limiter.cooldowns == [("first", BLOCKED_PAUSE, "Cloudflare")]


async def test_a_refused_redirect_is_a_refusal(ports):
    result = await call(ports, RedirectRefused(f"to https://evil/?key={KEY}"))

    assert (result.state, result.is_refusal, ports.calls.total) == ("failed", True, 1)
    assert KEY not in result.why


async def test_a_large_answer_is_set_aside_and_its_call_is_counted_later(ports):
    ports.fetcher.answers = {"A": [AnswerTooLarge("600 KiB"), "[5]"]}
    one_caller = caller(ports)

    first = await one_caller.call(REQUEST, largest_bytes=1000)
    second = await one_caller.call(REQUEST, largest_bytes=LARGEST_BYTES)

    assert first is None
    assert isinstance(second, Collected)
    assert (second.state, ports.calls.total) == ("done", 2)


async def test_an_answer_above_the_full_limit_fails_its_item(ports):
    result = await call(ports, AnswerTooLarge("9 MiB"))

    assert (result.state, ports.calls.total) == ("failed", 1)


async def test_no_key_is_in_a_result(ports):
    """Neither in the text that may be stored, nor in rows, nor in the reason."""
    answered = await call(ports, f'["{KEY}"]')
    failed = await call(ports, RuntimeError(f"https://first/?apikey={KEY}"))

    assert KEY not in answered.text
    assert all(KEY not in str(bad.raw) + bad.detail for bad in answered.bad)
    assert "RuntimeError" in failed.why
    assert KEY not in failed.why


async def test_an_outage_of_our_own_is_not_the_providers(ports):
    """It ends the run, which is repeated, instead of failing one item after the other."""
    with pytest.raises(DatabaseUnavailable):
        await call(ports, DatabaseUnavailable("the limiter does not answer"))


@pytest.mark.parametrize(
    ("verdict", "quota", "pause"),
    [
        (Verdict(Refusal.RATE, ""), PLENTY, timedelta(seconds=RATE_PAUSE_S)),
        (Verdict(Refusal.RATE, "", RetryAfter("5", 5.0)), PLENTY, timedelta(seconds=5)),
        (Verdict(Refusal.QUOTA, ""), SCARCE, SCARCE.windows[0]),  # to midnight
        (Verdict(Refusal.QUOTA, "", RetryAfter("60", 60.0)), SCARCE, timedelta(minutes=1)),
        (Verdict(Refusal.QUOTA, ""), PLENTY, QUOTA_PAUSE),
        (Verdict(Refusal.BLOCKED, "", RetryAfter("5", 5.0)), PLENTY, BLOCKED_PAUSE),
    ],
)
def test_how_long_a_refused_key_rests(verdict, quota, pause):
    assert cooldown_pause(verdict, quota, speed=1.0) == pause


def test_a_key_that_is_not_accepted_rests_until_it_is_changed():
    assert cooldown_pause(Verdict(Refusal.KEY, "", RetryAfter("5", 5.0)), SCARCE, speed=1.0) is None

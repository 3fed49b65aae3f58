"""Every way in which a provider refuses is recognised; what is data is not refused."""

import json
from datetime import UTC, datetime

import pytest

from ray_pipeline.providers import refusals
from ray_pipeline.providers.refusals import Answer, Refusal
from tests.support import PAYLOADS

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
recorded = pytest.mark.skipif(not PAYLOADS.is_dir(), reason="no recorded payloads here")

RECORDED = [
    ("alphavantage/error_200_daily_limit.json", 200, refusals.alpha_vantage, Refusal.QUOTA),
    ("alphavantage/error_200_demo_key.json", 200, refusals.alpha_vantage, Refusal.KEY),
    ("alphavantage/error_200_invalid_api_call.json", 200, refusals.alpha_vantage, Refusal.REQUEST),
    ("alphavantage/empty_200_unknown_symbol.json", 200, refusals.alpha_vantage, Refusal.NOT_FOUND),
    ("bithumb/error_200_code_not_found.json", 200, refusals.bithumb, Refusal.NOT_FOUND),
    ("bithumb/error_200_legacy_5500_bad_input.json", 200, refusals.bithumb, Refusal.REQUEST),
    ("bithumb/error_200_legacy_5500_not_listed.json", 200, refusals.bithumb, Refusal.REQUEST),
    ("bithumb/error_404_no_route.json", 404, refusals.bithumb, Refusal.NOT_FOUND),
    ("coingecko/error_404_coin_not_found.json", 404, refusals.coingecko, Refusal.NOT_FOUND),
    ("coingecko/error_422_missing_parameter_ids.json", 422, refusals.coingecko, Refusal.REQUEST),
    ("coingecko/error_429_rate_limit.json", 429, refusals.coingecko, Refusal.RATE),
    ("finnhub/error_403_candle_premium.json", 403, refusals.finnhub, Refusal.PLAN),
    ("finnhub/error_429_rate_limit.json", 429, refusals.finnhub, Refusal.RATE),
    ("fmp/error_401_invalid_key.json", 401, refusals.fmp, Refusal.KEY),
    ("fmp/error_402_exclusive_endpoint.json", 402, refusals.fmp, Refusal.PLAN),
    ("fmp/error_403_legacy_endpoint.json", 403, refusals.fmp, Refusal.PLAN),
    ("fmp/error_429_limit_reach.json", 429, refusals.fmp, Refusal.QUOTA),
    ("fred/error_400_key_not_registered.json", 400, refusals.fred, Refusal.KEY),
    ("fred/error_400_series_does_not_exist.json", 400, refusals.fred, Refusal.REQUEST),
    ("fred/error_429_rate_limit.json", 429, refusals.fred, Refusal.RATE),
    ("newsapi/error_401_api_key_invalid.json", 401, refusals.newsapi, Refusal.KEY),
    ("newsapi/error_426_maximum_results.json", 426, refusals.newsapi, Refusal.PLAN),
    ("newsapi/error_429_rate_limited.json", 429, refusals.newsapi, Refusal.QUOTA),
    ("truthsocial/error_403_cloudflare.html", 403, refusals.truth_social, Refusal.BLOCKED),
    ("x/error_401_unauthorized.json", 401, refusals.x, Refusal.KEY),
    ("x/error_403_client_forbidden.json", 403, refusals.x, Refusal.KEY),
    ("x/error_429_too_many_requests.json", 429, refusals.x, Refusal.RATE),
    ("yfinance/error_401_invalid_crumb_seed.json", 401, refusals.yahoo, Refusal.RATE),
    (
        "yfinance/error_404_quoteSummary-assetProfile-ADH.json",
        404,
        refusals.yahoo,
        Refusal.NOT_FOUND,
    ),
]
DATA = [
    ("alphavantage/overview_IBM_2026.json", refusals.alpha_vantage),
    ("alphavantage/earnings_calendar_3month_2026.csv", refusals.alpha_vantage),
    ("alphavantage/ipo_calendar_2026.csv", refusals.alpha_vantage),
    ("alphavantage/news_sentiment_AAPL_2026.json", refusals.alpha_vantage),
    ("bithumb/v1_market_all_2025-08-26.json", refusals.bithumb),
    ("bithumb/v1_ticker_KRW-BTC_2025-08-26.json", refusals.bithumb),
    ("coingecko/derivatives_2021-05.json", refusals.coingecko),
    ("coingecko/global_2021-05.json", refusals.coingecko),
    ("finnhub/company_news_AAPL_2026.json", refusals.finnhub),
    ("fmp/empty_200_unknown_symbol.json", refusals.fmp),
    ("fmp/v3_earning_calendar_2025-05.json", refusals.fmp),
    ("fred/observations_GDP_2024-11-03.json", refusals.fred),
    ("newsapi/top_headlines_2019-12-02.json", refusals.newsapi),
    ("x/users_tweets_empty.json", refusals.x),
    ("x/users_783214_tweets_2022-10.json", refusals.x),
    ("truthsocial/account_realDonaldTrump.json", refusals.truth_social),
    ("yfinance/chart-AAPL.json", refusals.yahoo),
]


def answer(text: str, status: int = 200, **headers: str) -> Answer:
    return Answer(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, text, NOW
    )


def readable(value):
    """A test's name must be the same in every process: no address of a function in it."""
    return value.__name__ if callable(value) else str(value)[:40]


@recorded
@pytest.mark.parametrize(("file", "status", "classify", "want"), RECORDED, ids=readable)
def test_a_recorded_refusal_is_recognised(file, status, classify, want):
    """With the provider's own words, on one line."""
    verdict = classify(answer((PAYLOADS / file).read_text(), status))

    assert verdict is not None
    assert verdict.refusal is want
    assert verdict.message
    assert "\n" not in verdict.message


@recorded
@pytest.mark.parametrize(("file", "classify"), DATA, ids=readable)
def test_recorded_data_is_not_refused(file, classify):
    """Nor is an empty list that is really empty."""
    assert classify(answer((PAYLOADS / file).read_text())) is None


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ('{"Note": "Our standard API call frequency is 5 calls per minute and 500 calls per day."}',
         Refusal.QUOTA),
        ('{"Note": "Thank you! Our standard API call frequency is 5 calls per minute."}',
         Refusal.RATE),
        ('{"Information": "Please consider spreading out your free API requests more sparingly '
         '(1 request per second). The limit is 25 requests per day."}', Refusal.RATE),
        ('{"Information": "This is a premium endpoint. You may subscribe to any premium plan."}',
         Refusal.PLAN),
        ('{"Information": "Something that was never seen before."}', Refusal.QUOTA),
        ('{"Error Message": "the parameter apikey is invalid or missing."}', Refusal.KEY),
        ("symbol,name,ipoDate,priceRangeLow,priceRangeHigh,currency,exchange\r\nI,n,f,o,r,m,a\r\n",
         Refusal.QUOTA),
        ('{"feed": [{"title": "cut o', Refusal.BROKEN),
        ("{}", Refusal.NOT_FOUND),
    ],
)  # fmt: skip
def test_alpha_vantage_refuses_with_http_200(text, want):
    """A text that nobody knows stops the key, too: it is no data."""
    verdict = refusals.alpha_vantage(answer(text))

    assert verdict is not None
    assert verdict.refusal is want


def test_a_calendar_of_companies_with_short_names_is_data():
    """One letter in one column is no refusal."""
    text = "symbol,name,ipoDate\r\nF,Ford,2026-01-01\r\n"

    assert refusals.alpha_vantage(answer(text)) is None


@pytest.mark.parametrize(
    ("headers", "want_s"),
    [
        ({"retry_after": "17"}, 17.0),
        ({"retry_after": "Mon, 23 Nov 2026 12:01:00 GMT"}, 60.0),
        ({"x_rate_limit_reset": str(int(NOW.timestamp()) + 900)}, 900.0),
        ({"x_rate_limit_reset": "soon"}, None),
        ({}, None),
    ],
)
def test_a_pause_is_read_however_it_is_asked_for(headers, want_s):
    """Seconds, a date, or X's reset."""
    verdict = refusals.x(answer('{"title":"Too Many Requests"}', 429, **headers))

    assert verdict is not None
    assert (verdict.refusal, verdict.retry_after_s) == (Refusal.RATE, want_s)


@pytest.mark.parametrize(
    ("classify", "status", "want"),
    [
        (refusals.fmp, 402, Refusal.PLAN),
        (refusals.fmp, 429, Refusal.QUOTA),
        (refusals.finnhub, 429, Refusal.RATE),
        (refusals.newsapi, 500, Refusal.SERVER),
        (refusals.coingecko, 503, Refusal.SERVER),
        (refusals.yahoo, 429, Refusal.RATE),
        (refusals.page, 404, Refusal.NOT_FOUND),
    ],
)
def test_plain_text_is_judged_by_its_status(classify, status, want):
    """Not every refusal is JSON."""
    verdict = classify(answer("Too many, or too ill", status))

    assert verdict is not None
    assert verdict.refusal is want


@pytest.mark.parametrize(
    "classify",
    [
        refusals.alpha_vantage, refusals.bithumb, refusals.coingecko, refusals.finnhub,
        refusals.fmp, refusals.fred, refusals.newsapi, refusals.truth_social, refusals.x,
        refusals.yahoo, refusals.page,
    ],
)  # fmt: skip
def test_cloudflares_page_is_never_data(classify):
    """With any status: it has been seen with 200."""
    page = "<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>"

    for status in (200, 403, 503):
        verdict = classify(answer(page, status))
        assert verdict is not None
        assert verdict.refusal is Refusal.BLOCKED


@pytest.mark.parametrize(
    "classify", [refusals.coingecko, refusals.finnhub, refusals.fred, refusals.x, refusals.yahoo]
)
def test_a_truncated_body_is_broken(classify):
    """Half of a JSON is no JSON."""
    text = json.dumps({"data": list(range(100))})[:150]

    verdict = classify(answer(text))

    assert verdict is not None
    assert verdict.refusal is Refusal.BROKEN


def test_xs_monthly_cap_is_a_quota_and_an_unknown_user_is_not_found():
    """The token rests; the account is skipped."""
    cap = '{"title": "UsageCapExceeded", "detail": "Usage cap exceeded", "period": "Monthly"}'
    gone = '{"errors": [{"title": "Not Found Error", "detail": "Could not find user"}]}'

    verdict, missing = refusals.x(answer(cap, 429)), refusals.x(answer(gone))

    assert verdict is not None
    assert missing is not None
    assert (verdict.refusal, missing.refusal) == (Refusal.QUOTA, Refusal.NOT_FOUND)


def test_numbers_keep_every_digit():
    """A body is read without floats."""
    body = answer('{"price": 0.1234567890123456789012345, "big": 1e3}').body()

    assert str(body["price"]) == "0.1234567890123456789012345"

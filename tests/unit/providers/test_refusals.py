"""Every way in which a provider refuses is recognised; what is data is not refused."""

import json
from datetime import UTC, datetime

import pytest

from ray_pipeline.providers import (
    alpha_vantage,
    bithumb,
    coingecko,
    finnhub,
    fmp,
    fred,
    newsapi,
    truth_social,
    wikipedia,
    x,
    yahoo,
)
from ray_pipeline.providers.refusals import Refusal
from ray_pipeline.transport.answer import Answer
from tests.support import PAYLOADS

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
recorded = pytest.mark.skipif(not PAYLOADS.is_dir(), reason="no recorded payloads here")

RECORDED = [
    ("alphavantage/error_200_daily_limit.json", 200, alpha_vantage.classify, Refusal.QUOTA),
    ("alphavantage/error_200_demo_key.json", 200, alpha_vantage.classify, Refusal.KEY),
    ("alphavantage/error_200_invalid_api_call.json", 200, alpha_vantage.classify, Refusal.REQUEST),
    ("alphavantage/empty_200_unknown_symbol.json", 200, alpha_vantage.classify, Refusal.NOT_FOUND),
    ("bithumb/error_200_code_not_found.json", 200, bithumb.classify, Refusal.NOT_FOUND),
    ("bithumb/error_200_legacy_5500_bad_input.json", 200, bithumb.classify, Refusal.REQUEST),
    ("bithumb/error_200_legacy_5500_not_listed.json", 200, bithumb.classify, Refusal.REQUEST),
    ("bithumb/error_404_no_route.json", 404, bithumb.classify, Refusal.NOT_FOUND),
    ("coingecko/error_404_coin_not_found.json", 404, coingecko.classify, Refusal.NOT_FOUND),
    ("coingecko/error_422_missing_parameter_ids.json", 422, coingecko.classify, Refusal.REQUEST),
    ("coingecko/error_429_rate_limit.json", 429, coingecko.classify, Refusal.RATE),
    ("finnhub/error_403_candle_premium.json", 403, finnhub.classify, Refusal.PLAN),
    ("finnhub/error_429_rate_limit.json", 429, finnhub.classify, Refusal.RATE),
    ("fmp/error_401_invalid_key.json", 401, fmp.classify, Refusal.KEY),
    ("fmp/error_402_exclusive_endpoint.json", 402, fmp.classify, Refusal.PLAN),
    ("fmp/error_403_legacy_endpoint.json", 403, fmp.classify, Refusal.PLAN),
    ("fmp/error_429_limit_reach.json", 429, fmp.classify, Refusal.QUOTA),
    ("fred/error_400_key_not_registered.json", 400, fred.classify, Refusal.KEY),
    ("fred/error_400_series_does_not_exist.json", 400, fred.classify, Refusal.REQUEST),
    ("fred/error_429_rate_limit.json", 429, fred.classify, Refusal.RATE),
    ("newsapi/error_401_api_key_invalid.json", 401, newsapi.classify, Refusal.KEY),
    ("newsapi/error_426_maximum_results.json", 426, newsapi.classify, Refusal.PLAN),
    ("newsapi/error_429_rate_limited.json", 429, newsapi.classify, Refusal.QUOTA),
    ("truthsocial/error_403_cloudflare.html", 403, truth_social.PROVIDER.classify, Refusal.BLOCKED),
    ("x/error_401_unauthorized.json", 401, x.classify, Refusal.KEY),
    ("x/error_403_client_forbidden.json", 403, x.classify, Refusal.KEY),
    ("x/error_429_too_many_requests.json", 429, x.classify, Refusal.RATE),
    ("yfinance/error_401_invalid_crumb_seed.json", 401, yahoo.classify, Refusal.RATE),
    (
        "yfinance/error_404_quoteSummary-assetProfile-ADH.json",
        404,
        yahoo.classify,
        Refusal.NOT_FOUND,
    ),
]
DATA = [
    ("alphavantage/overview_IBM_2026.json", alpha_vantage.classify),
    ("alphavantage/earnings_calendar_3month_2026.csv", alpha_vantage.classify),
    ("alphavantage/ipo_calendar_2026.csv", alpha_vantage.classify),
    ("alphavantage/news_sentiment_AAPL_2026.json", alpha_vantage.classify),
    ("bithumb/v1_market_all_2025-08-26.json", bithumb.classify),
    ("bithumb/v1_ticker_KRW-BTC_2025-08-26.json", bithumb.classify),
    ("coingecko/derivatives_2021-05.json", coingecko.classify),
    ("coingecko/global_2021-05.json", coingecko.classify),
    ("finnhub/company_news_AAPL_2026.json", finnhub.classify),
    ("fmp/empty_200_unknown_symbol.json", fmp.classify),
    ("fmp/v3_earning_calendar_2025-05.json", fmp.classify),
    ("fred/observations_GDP_2024-11-03.json", fred.classify),
    ("newsapi/top_headlines_2019-12-02.json", newsapi.classify),
    ("x/users_tweets_empty.json", x.classify),
    ("x/users_783214_tweets_2022-10.json", x.classify),
    ("truthsocial/account_realDonaldTrump.json", truth_social.PROVIDER.classify),
    ("yfinance/chart-AAPL.json", yahoo.classify),
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
    verdict = alpha_vantage.classify(answer(text))

    assert verdict is not None
    assert verdict.refusal is want


def test_a_calendar_of_companies_with_short_names_is_data():
    """One letter in one column is no refusal."""
    text = "symbol,name,ipoDate\r\nF,Ford,2026-01-01\r\n"

    assert alpha_vantage.classify(answer(text)) is None


@pytest.mark.parametrize(
    ("headers", "want_s"),
    [
        ({"retry_after": "17"}, 17.0),
        ({"retry_after": "Mon, 23 Nov 2026 12:01:00 GMT"}, 60.0),
        ({"x_rate_limit_reset": str(int(NOW.timestamp()) + 900)}, 900.0),
        ({"x_rate_limit_reset": f"{int(NOW.timestamp())}, {int(NOW.timestamp()) + 9}"}, 9.0),
        ({"x_rate_limit_reset": "soon"}, None),
        ({"retry_after": "soon", "x_rate_limit_reset": str(int(NOW.timestamp()) + 9)}, 9.0),
        ({}, None),
    ],
)
def test_a_pause_is_read_however_it_is_asked_for(headers, want_s):
    """Seconds, a date, or X's reset."""
    verdict = x.classify(answer('{"title":"Too Many Requests"}', 429, **headers))

    assert verdict is not None
    wait_s = verdict.pause.wait_s if verdict.pause else None
    assert (verdict.refusal, wait_s) == (Refusal.RATE, want_s)


@pytest.mark.parametrize(
    ("classify", "status", "want"),
    [
        (fmp.classify, 402, Refusal.PLAN),
        (fmp.classify, 429, Refusal.QUOTA),
        (finnhub.classify, 429, Refusal.RATE),
        (newsapi.classify, 500, Refusal.SERVER),
        (coingecko.classify, 503, Refusal.SERVER),
        (yahoo.classify, 429, Refusal.RATE),
        (wikipedia.classify, 404, Refusal.NOT_FOUND),
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
        alpha_vantage.classify, bithumb.classify, coingecko.classify, finnhub.classify,
        fmp.classify, fred.classify, newsapi.classify, truth_social.PROVIDER.classify, x.classify,
        yahoo.classify, wikipedia.classify,
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
    "classify", [coingecko.classify, finnhub.classify, fred.classify, x.classify, yahoo.classify]
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

    verdict, missing = x.classify(answer(cap, 429)), x.classify(answer(gone))

    assert verdict is not None
    assert missing is not None
    assert (verdict.refusal, missing.refusal) == (Refusal.QUOTA, Refusal.NOT_FOUND)


def test_numbers_keep_every_digit():
    """A body is read without floats."""
    body = answer('{"price": 0.1234567890123456789012345, "big": 1e3}').body()

    assert str(body["price"]) == "0.1234567890123456789012345"

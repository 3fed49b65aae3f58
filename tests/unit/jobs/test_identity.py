"""An answer is recognised as that of another item by what it names, counts and holds."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from ray_pipeline.batch.responses import ParsedAnswer, read
from ray_pipeline.jobs import (
    company_news,
    cpi,
    earnings_news_finnhub,
    inflation,
    market_news,
    news_sentiment,
    treasury_yield,
    x_user_profiles,
)
from ray_pipeline.jobs.spec import JobSpec, Request, Run
from ray_pipeline.providers.refusals import Refusal, Verdict
from ray_pipeline.transport.answer import Answer

NOW = datetime(2026, 9, 1, 6, tzinfo=UTC)
FRED = Request("", "/series/observations")


def answered(
    spec: JobSpec, body: object, request: Request, *, stored: Sequence[dict] = ()
) -> ParsedAnswer | Verdict:
    """Read a body as a run would."""
    run = Run(spec.name, NOW, NOW, inputs={"stored": tuple(stored)})
    return read(spec.sources[0], Answer(200, {}, json.dumps(body), NOW), request, run)


def is_other_item(answer: ParsedAnswer | Verdict) -> bool:
    """Return whether an answer is refused, instead of being read without a fault."""
    if isinstance(answer, Verdict):
        assert answer.refusal is Refusal.OTHER_ITEM
        return True
    assert answer.fault == ""
    return False


def series(months: int, *, points: int = 24, add: int = 0, **facts: object) -> dict:
    """Return observations with one every `months` months."""
    ordinals = [2000 * 12 + number * months for number in range(points)]
    days = [date(ordinal // 12, ordinal % 12 + 1, 1) for ordinal in ordinals]
    observations = [{"date": str(day), "value": f"{day.year + day.month + add}.5"} for day in days]
    return {"units": "lin", "count": points, "observations": observations} | facts


def points(body: dict, item: str = "") -> list[dict]:
    """Return the points of a series as the input query returns them."""
    return [
        {"item": item, "date": date.fromisoformat(one["date"]), "value": Decimal(one["value"])}
        for one in body["observations"]
    ]


@pytest.mark.parametrize(
    ("spec", "months", "other"),
    [(cpi.SPEC, 1, False), (cpi.SPEC, 3, True), (inflation.SPEC, 12, False),
     (inflation.SPEC, 1, True), (cpi.SPEC, 12, True)],
)  # fmt: skip
def test_a_series_with_another_frequency_is_another_series(spec, months, other):
    assert is_other_item(answered(spec, series(months), FRED)) is other


def test_a_series_that_contradicts_the_stored_one_is_another_series():
    """A revision changes a few values; the points of another maturity are not compared."""
    stored = points(series(1))
    revised = series(1)
    for number in range(11):
        revised["observations"][number]["value"] = "0.1"
    other_maturity = points(series(1, add=5), "10year")
    ten_years = Request("2year", "/series/observations")

    assert not is_other_item(answered(cpi.SPEC, series(1), FRED, stored=stored))
    assert not is_other_item(answered(cpi.SPEC, revised, FRED, stored=stored))
    assert is_other_item(answered(cpi.SPEC, series(1, add=7), FRED, stored=stored))
    assert not is_other_item(answered(cpi.SPEC, series(1, add=7), FRED, stored=stored[:11]))
    assert not is_other_item(
        answered(treasury_yield.SPEC, series(1), ten_years, stored=other_maturity)
    )


@pytest.mark.parametrize("facts", [{"count": 25}, {"count": "many"}, {"units": "pc1"}])
def test_a_series_that_is_cut_off_or_transformed_has_no_rows(facts):
    """Already the first answer: FRED counts its observations."""
    answer = answered(cpi.SPEC, series(1, **facts), FRED)

    assert isinstance(answer, ParsedAnswer)
    assert answer.rows == ()
    assert answer.fault


def article(**facts: object) -> dict:
    return {"datetime": 1_779_554_718, "headline": "h", "url": "https://x", **facts}


@pytest.mark.parametrize(
    ("related", "other"),
    [(["AAPL"], False), (["MSFT"], True), (["MSFT,AAPL"], False), (["MSFT", "AAPL"], False),
     ([""], False), ([None], False), ([5], False), ([], False)],
)  # fmt: skip
@pytest.mark.parametrize("spec", [company_news.SPEC, earnings_news_finnhub.SPEC])
def test_news_of_another_company_are_refused(spec, related, other):
    facts = {"symbol": "AAPL", "report_date": "2026-09-09", "company_name": "Apple"}
    body = [article(related=names) for names in related]

    answer = answered(spec, body, Request("AAPL", "/company-news", {}, facts))

    assert is_other_item(answer) is other


def test_a_share_class_may_be_written_in_another_way():
    request = Request("BRK.B", "/company-news")

    assert not is_other_item(answered(company_news.SPEC, [article(related="BRK-B")], request))


@pytest.mark.parametrize(("publisher", "other"), [("reuters", False), ("cnn", True), (None, False)])
def test_headlines_of_another_publisher_are_refused(publisher, other):
    request = Request("publisher reuters", "/top-headlines", {"sources": "reuters"})
    row = {"title": "t", "url": "u", "publishedAt": "2026-08-31T00:00:00Z"}
    body = {"totalResults": 1, "articles": [row | {"source": {"id": publisher, "name": "R"}}]}

    assert is_other_item(answered(market_news.SPEC, body, request)) is other


def test_results_without_an_article_are_not_an_empty_answer():
    request = Request("theme war", "/everything", {"q": "war"})

    answer = answered(market_news.SPEC, {"totalResults": 38, "articles": []}, request)

    assert isinstance(answer, ParsedAnswer)
    assert "none of 38 articles" in answer.fault


@pytest.mark.parametrize(
    ("ticker", "items", "result"),
    [("XOM", "1", "read"), ("CVX", "1", "other"), ("XOM", "50", "fault"), ("XOM", None, "read")],
)
def test_news_about_other_tickers_or_without_the_counted_articles_are_refused(
    ticker, items, result
):
    request = Request("exxon", "/query", {"tickers": "XOM"}, {"query": "tickers=XOM"})
    item = {"title": "t", "url": "u", "time_published": "20260515T161600"}
    body = {"items": items, "feed": [item | {"ticker_sentiment": [{"ticker": ticker}]}]}

    answer = answered(news_sentiment.SPEC, body, request)

    if result == "fault":
        assert isinstance(answer, ParsedAnswer)
        assert "1 of 50 articles" in answer.fault
    else:
        assert is_other_item(answer) is (result == "other")


@pytest.mark.parametrize(("name", "other"), [("ELONMUSK", False), ("TwitterDev", True)])
def test_accounts_that_were_not_requested_are_refused(name, other):
    request = Request("names 1", "/users/by", {"usernames": "elonmusk,WSJ"})

    answer = answered(x_user_profiles.SPEC, {"data": [{"id": "1", "username": name}]}, request)

    assert is_other_item(answer) is other

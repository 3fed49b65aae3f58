"""Alpha Vantage's, FRED's and FMP's datasets, on recorded answers."""

import csv
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from ray_pipeline.batch.responses import ParsedAnswer, read
from ray_pipeline.jobs import (
    balance_sheet,
    company_overview,
    cpi,
    earnings_calendar,
    etf_profile,
    federal_funds_rate,
    inflation,
    ipo_calendar,
    news_sentiment,
    top_gainers,
    treasury_yield,
)
from ray_pipeline.jobs._news_queries import QUERIES
from ray_pipeline.jobs.spec import JobSpec, Request, Run, Unparsed
from ray_pipeline.providers.refusals import Answer
from tests.support import PAYLOADS

FOLDER = PAYLOADS / "alphavantage"
NOW = datetime(2026, 9, 1, 6, tzinfo=UTC)
recorded = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="no recorded payloads beside this checkout"
)


def rows(
    spec: JobSpec, path: Path, *, item: str = "", source: str = "alpha_vantage", batch: int = 7
) -> list:
    """Read a recorded body as a run would."""
    chosen = next(one for one in spec.sources if one.provider.name == source)
    request = Request(item, "/query", facts={"query": "tickers=AAPL"})
    answer = Answer(200, {}, path.read_text(), NOW)
    reading = read(chosen, answer, request, Run(spec.name, NOW, NOW, batch=batch))
    assert isinstance(reading, ParsedAnswer), reading
    assert not reading.bad
    return list(reading.rows)


@recorded
def test_every_quarter_of_a_balance_sheet_is_a_row():
    """Amounts are exact, 'None' is NULL."""
    path = FOLDER / "balance_sheet_IBM_2026.json"
    reports = json.loads(path.read_text())["quarterlyReports"]

    found = rows(balance_sheet.SPEC, path, item="IBM")

    assert len(found) == len(reports)
    for row, report in zip(found, reports, strict=True):
        assert row.symbol == "IBM"
        assert row.fiscaldateending == date.fromisoformat(report["fiscalDateEnding"])
        assert row.totalassets == Decimal(report["totalAssets"])
        want = None if report["inventory"] == "None" else Decimal(report["inventory"])
        assert row.inventory == want


@recorded
@pytest.mark.parametrize(
    "name", ["overview_IBM_2026", "overview_older", "company_overview_ruby_2021"]
)
def test_an_overview_is_one_row_with_exact_ratios(name):
    """Also where the provider left a figure open."""
    path = FOLDER / f"{name}.json"
    body = json.loads(path.read_text())

    (row,) = rows(company_overview.SPEC, path, item=body["Symbol"])

    assert (row.batch_id, row.symbol, row.name) == (7, body["Symbol"], body["Name"])
    assert row.market_capitalization == int(body["MarketCapitalization"])
    for column, key in (("pe_ratio", "PERatio"), ("beta", "Beta"), ("week_52_high", "52WeekHigh")):
        text = body[key]
        assert getattr(row, column) == (None if text in {"None", "-"} else Decimal(text))


@recorded
def test_the_earnings_calendar_has_every_line_of_the_file():
    """With the company's name, which the earlier system lost, and NULL for no estimate."""
    path = FOLDER / "earnings_calendar_3month_2026.csv"
    lines = list(csv.DictReader(path.read_text().splitlines()))

    found = rows(earnings_calendar.SPEC, path)

    assert len(found) == len(lines)
    for row, line in zip(found, lines, strict=True):
        assert (row.symbol, row.company_name) == (line["symbol"], line["name"] or None)
        assert row.estimate == (Decimal(line["estimate"]) if line["estimate"] else None)
        assert row.time_of_day == (line["timeOfTheDay"] or None)


@recorded
def test_fmps_older_calendar_is_read_as_well():
    """Its `time` says before or after the market."""
    path = PAYLOADS / "fmp" / "v3_earning_calendar_2025-05.json"
    events = json.loads(path.read_text())

    found = rows(earnings_calendar.SPEC, path, source="fmp")

    assert [row.symbol for row in found] == [event["symbol"] for event in events]
    assert found[0].time_of_day == "pre-market"
    assert {row.source for row in found} == {"fmp"}


@recorded
def test_the_ipo_calendar_has_every_line_of_the_file():
    """A price range of 0 stays 0: it is what the provider wrote."""
    path = FOLDER / "ipo_calendar_2026.csv"
    lines = list(csv.DictReader(path.read_text().splitlines()))

    found = rows(ipo_calendar.SPEC, path)

    assert [(row.symbol, row.company_name) for row in found] == [
        (line["symbol"].strip().upper(), line["name"].strip()) for line in lines
    ]
    assert found[0].price_range_low == Decimal(lines[0]["priceRangeLow"])


@recorded
@pytest.mark.parametrize("name", ["etf_profile_QQQ_2026.json", "etf_profile_QQQ_older.json"])
def test_an_etf_profile_keeps_all_holdings(name):
    """'n/a' is NULL; ratios are exact."""
    body = json.loads((FOLDER / name).read_text())

    (row,) = rows(etf_profile.SPEC, FOLDER / name, item="QQQ")

    assert row.net_assets == int(body["net_assets"])
    assert row.net_expense_ratio == Decimal(body["net_expense_ratio"])
    assert row.inception_date == date(1999, 3, 10)
    assert len(row.holdings) == len(body["holdings"])
    assert row.portfolio_turnover is None or body["portfolio_turnover"] != "n/a"


@recorded
def test_news_is_stored_once_with_the_question_that_found_it():
    """Two rows an article: itself, and that this question found it."""
    path = FOLDER / "news_sentiment_AAPL_2026.json"
    feed = json.loads(path.read_text())["feed"]

    found = rows(news_sentiment.SPEC, path, item="apple_news")

    articles = [row for row in found if isinstance(row, news_sentiment.SentimentArticle)]
    assert len(found) == 2 * len(feed)
    for row, item in zip(articles, feed, strict=True):
        assert row.url == item["url"]
        assert row.time_published.strftime("%Y%m%dT%H%M%S") == item["time_published"]
        assert row.overall_sentiment_score == Decimal(str(item["overall_sentiment_score"]))
        assert row.ticker_sentiment == (item["ticker_sentiment"] or None)


@recorded
def test_the_three_lists_of_top_gainers_keep_their_ranks():
    """And the time is UTC: 16:16 in New York's summer is 20:16."""
    path = FOLDER / "top_gainers_losers_2026.json"
    body = json.loads(path.read_text())

    found = rows(top_gainers.SPEC, path)

    assert len(found) == sum(len(body[category]) for category in top_gainers.CATEGORIES)
    first, stock = found[0], body["top_gainers"][0]
    assert (first.symbol, first.rank_position) == (stock["ticker"], 1)
    assert first.price == Decimal(stock["price"])
    assert first.change_percentage == stock["change_percentage"]
    assert first.last_updated == datetime(2026, 5, 15, 20, 16, tzinfo=UTC)


@recorded
@pytest.mark.parametrize(
    ("spec", "file", "column"),
    [
        (cpi.SPEC, "COMPOSED_cpi_monthly_2026.json", "cpi_value"),
        (cpi.SPEC, "cpi_monthly_2023-11.json", "cpi_value"),
        (inflation.SPEC, "COMPOSED_inflation_2026.json", "inflation_rate"),
        (inflation.SPEC, "inflation_2022.json", "inflation_rate"),
        (federal_funds_rate.SPEC, "COMPOSED_federal_funds_rate_2026.json", "rate"),
    ],
)
def test_a_series_has_its_whole_history(spec, file, column):
    """A month without a figure has no row; every other value is exact."""
    body = json.loads((FOLDER / file).read_text())
    points = {point["date"]: point["value"] for point in body["data"] if point["value"] != "."}

    found = rows(spec, FOLDER / file)

    assert {row.date.isoformat(): getattr(row, column) for row in found} == {
        day: Decimal(value) for day, value in points.items()
    }
    assert {row.unit for row in found} == {body["unit"]}


@recorded
def test_fred_and_alpha_vantage_give_the_same_rows():
    """But for where they came from: the provider is a matter of keys, not of data."""
    path = PAYLOADS / "fred" / "observations_CPILFESL_2024-11-03.json"
    points = json.loads(path.read_text())["observations"]
    as_alpha_vantage = {"unit": "index 1982-1984=100", "data": points}
    run, request = Run("cpi", NOW, NOW), Request("", "/query")

    fred = rows(cpi.SPEC, path, source="fred")
    other = list(cpi.SPEC.sources[1].parse(as_alpha_vantage, request, run))

    assert len(fred) == sum(point["value"] != "." for point in points)
    assert [(row.date, row.cpi_value, row.unit) for row in fred] == [
        (row.date, row.cpi_value, row.unit) for row in other
    ]


def test_treasury_yields_skip_a_month_without_a_figure():
    """'.' costs its month, not the maturity."""
    body = {"data": [{"date": "2026-01-01", "value": "."}, {"date": "2025-12-01", "value": "3.89"}]}
    run, request = Run("treasury_yield", NOW, NOW), Request("2year", "/query")

    (row,) = treasury_yield.SPEC.sources[1].parse(body, request, run)

    assert (row.maturity, row.yield_rate) == ("2year", Decimal("3.89"))


def test_there_are_25_questions_for_each_weekday():
    """All of one day are told apart by their type, and asked on that day in New York."""
    for weekday in range(7):
        slot = datetime(2026, 11, 23, 14, tzinfo=UTC) + timedelta(days=weekday)
        requests = list(news_sentiment.plan(Run("news_sentiment", slot, slot)))

        assert [request.item for request in requests] == [kind for kind, _ in QUERIES[weekday]]
        assert len({request.item for request in requests}) == 25
        assert all(request.params["function"] == "NEWS_SENTIMENT" for request in requests)


REST = {"change_amount": "1", "change_percentage": "1%", "volume": "1"}


def test_a_broken_entry_costs_no_other():
    """It is set aside with what it was."""
    body = {
        "last_updated": "2026-05-15 16:16:00 US/Eastern",
        "top_gainers": [
            {
                "ticker": "A",
                "price": "x",
                "change_amount": "1",
                "change_percentage": "1%",
                "volume": 1,
            },
            {
                "ticker": "B",
                "price": "2",
                "change_amount": "1",
                "change_percentage": "1%",
                "volume": 1,
            },
        ],
    }

    bad, good = top_gainers.parse(body, Request("", "/query"), Run("top_gainers", NOW, NOW))

    assert isinstance(bad, Unparsed)
    assert bad.raw["ticker"] == "A"
    assert good.symbol == "B"


def test_a_calendar_with_another_header_is_no_calendar():
    """Its columns would be read as something else."""
    with pytest.raises(ValueError, match="header"):
        list(ipo_calendar.parse("a,b\n1,2\n", Request("", "/query"), Run("ipo", NOW, NOW)))

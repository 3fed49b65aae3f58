"""From a recorded file to rows in Postgres: Alpha Vantage's, FRED's and FMP's datasets."""

import json
from decimal import Decimal

import psycopg
import pytest

from ray_pipeline.catalog import job
from ray_pipeline.jobs.spec import Request
from tests.recorded import store_recorded
from tests.support import PAYLOADS

pytestmark = pytest.mark.skipif(not PAYLOADS.is_dir(), reason="no recorded payloads here")

CASES = [
    ("balance_sheet", "alphavantage/balance_sheet_IBM_2026.json", "IBM", 0, 81),
    ("balance_sheet", "alphavantage/balance_sheet_xrg.json", "IBM", 0, None),
    ("company_overview", "alphavantage/overview_IBM_2026.json", "IBM", 0, 1),
    ("company_overview", "alphavantage/overview_older.json", "IBM", 0, 1),
    ("company_overview", "alphavantage/company_overview_ruby_2021.json", "TSLA", 0, 1),
    ("earnings_calendar", "alphavantage/earnings_calendar_3month_2026.csv", "", 0, None),
    ("earnings_calendar", "fmp/v3_earning_calendar_2025-05.json", "", 1, None),
    ("ipo_calendar", "alphavantage/ipo_calendar_2026.csv", "", 0, None),
    ("news_sentiment", "alphavantage/news_sentiment_AAPL_2026.json", "apple_news", 0, None),
    ("top_gainers", "alphavantage/top_gainers_losers_2026.json", "", 0, None),
    ("cpi", "alphavantage/COMPOSED_cpi_monthly_2026.json", "", 1, None),
    ("cpi", "fred/observations_CPILFESL_2024-11-03.json", "", 0, None),
    ("inflation", "alphavantage/COMPOSED_inflation_2026.json", "", 1, 65),
    ("federal_funds_rate", "alphavantage/COMPOSED_federal_funds_rate_2026.json", "", 1, 862),
]


@pytest.mark.parametrize(("name", "file", "item", "source", "want"), CASES)
async def test_a_recorded_body_is_stored_once(postgres_dsn, name, file, item, source, want):
    """Every row of the file is a row of the table; the same file again changes none."""
    text = (PAYLOADS / file).read_text()
    request = Request(item, "/query", facts={"query": "tickers=AAPL"})

    first = await store_recorded(postgres_dsn, job(name), text, request=request, source=source)
    again = await store_recorded(postgres_dsn, job(name), text, request=request, source=source)

    assert first.new > 0
    assert (first.changed, first.parked) == (0, 0)
    assert want is None or first.new == want
    assert (again.new, again.changed, again.parked) == (0, 0, 0)


async def test_amounts_are_stored_exactly(postgres_dsn):
    """The number that the provider wrote, whatever its digits."""
    file = PAYLOADS / "alphavantage" / "balance_sheet_IBM_2026.json"
    report = json.loads(file.read_text())["quarterlyReports"][0]

    await store_recorded(
        postgres_dsn, job("balance_sheet"), file.read_text(), request=Request("IBM", "/query")
    )

    with psycopg.connect(postgres_dsn) as connection:
        row = connection.execute(
            "SELECT totalassets, commonstocksharesoutstanding, source FROM balance_sheet "
            "WHERE symbol = 'IBM' AND fiscaldateending = %s",
            (report["fiscalDateEnding"],),
        ).fetchone()
    assert row is not None
    assert row[0] == Decimal(report["totalAssets"])
    assert row[1] == Decimal(report["commonStockSharesOutstanding"])
    assert row[2] == "alpha_vantage"


async def test_an_etfs_profile_needs_its_fund(postgres_dsn):
    """A profile of a fund that nobody listed is set aside, and nothing else is lost."""
    text = (PAYLOADS / "alphavantage" / "etf_profile_QQQ_2026.json").read_text()
    request = Request("QQQ", "/query")

    parked = await store_recorded(postgres_dsn, job("etf_profile"), text, request=request)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO etf_basic_info (symbol, name) VALUES ('QQQ', 'Invesco')")
    stored = await store_recorded(postgres_dsn, job("etf_profile"), text, request=request)

    assert (parked.new, parked.parked) == (0, 1)
    assert (stored.new, stored.parked) == (1, 0)


async def test_fmp_completes_and_alpha_vantage_corrects(postgres_dsn):
    """A row of Alpha Vantage is not FMP's to change; one of FMP is replaced by Alpha Vantage's."""
    header = "symbol,name,reportDate,fiscalDateEnding,estimate,currency\n"
    spec, request = job("earnings_calendar"), Request("", "/query")
    fmp = json.dumps(
        [
            {"symbol": "A", "date": "2026-12-01", "epsEstimated": 1.0},
            {"symbol": "B", "date": "2026-12-01", "epsEstimated": 2.0},
        ]
    )

    await store_recorded(
        postgres_dsn, spec, header + "A,Agilent,2026-12-01,,1.5,USD\n", request=request
    )
    completed = await store_recorded(postgres_dsn, spec, fmp, request=request, source=1)
    corrected = await store_recorded(
        postgres_dsn, spec, header + "B,Barnes,2026-12-01,,2.5,USD\n", request=request
    )
    late = await store_recorded(postgres_dsn, spec, fmp, request=request, source=1)

    assert (completed.new, completed.changed) == (1, 0)
    assert (corrected.new, corrected.changed) == (0, 1)
    assert (late.new, late.changed) == (0, 0)

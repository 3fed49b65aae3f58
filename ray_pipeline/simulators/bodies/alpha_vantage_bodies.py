"""Alpha Vantage's answers."""

from collections.abc import Callable, Mapping
from random import Random

from ray_pipeline.simulators.bodies.body import (
    Body,
    Simulated,
    as_json,
    headline,
    moments,
    months,
    quarters,
    today,
)

SYMBOLS = """
    AAPL MSFT NVDA AMZN GOOGL META TSLA JPM XOM UNH WMT PG HD CVX KO PFE BAC
""".split()
AMOUNTS = """
    totalAssets totalCurrentAssets cashAndCashEquivalentsAtCarryingValue
    cashAndShortTermInvestments inventory currentNetReceivables totalNonCurrentAssets
    propertyPlantEquipment accumulatedDepreciationAmortizationPPE intangibleAssets
    intangibleAssetsExcludingGoodwill goodwill investments longTermInvestments
    shortTermInvestments otherCurrentAssets otherNonCurrentAssets totalLiabilities
    totalCurrentLiabilities currentAccountsPayable deferredRevenue currentDebt shortTermDebt
    totalNonCurrentLiabilities capitalLeaseObligations longTermDebt currentLongTermDebt
    longTermDebtNoncurrent shortLongTermDebtTotal otherCurrentLiabilities
    otherNonCurrentLiabilities totalShareholderEquity treasuryStock retainedEarnings commonStock
    commonStockSharesOutstanding
""".split()
TEXTS = {
    "AssetType": "Common Stock",
    "Description": "A company.",
    "Exchange": "NYSE",
    "Currency": "USD",
    "Country": "USA",
    "Sector": "TECHNOLOGY",
    "Industry": "SOFTWARE",
    "Address": "1 MAIN STREET",
    "OfficialSite": "https://example.com",
    "FiscalYearEnd": "December",
}
NUMBERS = """
    MarketCapitalization EBITDA PERatio PEGRatio BookValue DividendPerShare DividendYield EPS
    RevenuePerShareTTM ProfitMargin OperatingMarginTTM ReturnOnAssetsTTM ReturnOnEquityTTM
    RevenueTTM GrossProfitTTM DilutedEPSTTM QuarterlyEarningsGrowthYOY QuarterlyRevenueGrowthYOY
    AnalystTargetPrice TrailingPE ForwardPE PriceToSalesRatioTTM PriceToBookRatio EVToRevenue
    EVToEBITDA Beta 52WeekHigh 52WeekLow 50DayMovingAverage 200DayMovingAverage SharesOutstanding
""".split()
WHOLE = frozenset({"MarketCapitalization", "EBITDA", "RevenueTTM", "GrossProfitTTM"})


def generate(path: str, query: Mapping[str, str], random: Random) -> Body | None:
    """Answer /query?function=..."""
    function = FUNCTIONS.get(query.get("function", ""))
    if path != "/query" or function is None:
        return as_json({"Error Message": "This API function does not exist."})
    return function(query, random)


def _series(name: str, unit: str, low: float, high: float) -> Callable[..., Body]:
    def answer(query: Mapping[str, str], random: Random) -> Body:
        points = [
            {"date": day.isoformat(), "value": f"{random.uniform(low, high):.3f}"}
            for day in months(120)
        ]
        points[7]["value"] = "."
        interval = query.get("interval", "annual")
        return as_json({"name": name, "interval": interval, "unit": unit, "data": points})

    return answer


def _balance_sheet(query: Mapping[str, str], random: Random) -> Body:
    reports = [
        {"fiscalDateEnding": day.isoformat(), "reportedCurrency": "USD"}
        | {name: str(random.randrange(10**6, 10**11)) for name in AMOUNTS}
        | {"inventory": "None"}
        for day in quarters(8)
    ]
    return as_json(
        {"symbol": query.get("symbol"), "annualReports": reports[::4], "quarterlyReports": reports}
    )


def _overview(query: Mapping[str, str], random: Random) -> Body:
    symbol = query.get("symbol", "")
    values = {
        name: str(random.randrange(10**8, 10**12)) if name in WHOLE or name.endswith("standing")
        else f"{random.uniform(0.1, 300):.3f}"
        for name in NUMBERS
    }  # fmt: skip
    days = {"LatestQuarter": quarters(1)[0], "DividendDate": today(), "ExDividendDate": today()}
    dates = {name: day.isoformat() for name, day in days.items()}
    texts = {
        "Symbol": symbol,
        "Name": f"{symbol} Incorporated",
        "CIK": str(random.randrange(10**6)),
    }
    return as_json(texts | TEXTS | values | dates)


def _csv(header: str, rows: list[str]) -> Body:
    return Body("\r\n".join([header, *rows]) + "\r\n", "application/x-download")


def _earnings_calendar(_query: Mapping[str, str], random: Random) -> Body:
    rows = [
        f"{symbol},{symbol} Inc,{today().replace(day=28)},{quarters(1)[0]},"
        f"{random.uniform(0.1, 5):.2f},USD,post-market"
        for symbol in SYMBOLS
    ]
    header = "symbol,name,reportDate,fiscalDateEnding,estimate,currency,timeOfTheDay"
    return _csv(header, rows)


def _ipo_calendar(_query: Mapping[str, str], random: Random) -> Body:
    rows = [
        f"NEW{n},New Company {n},{today().replace(day=27)},{random.randrange(8, 20)},25,USD,NYSE"
        for n in range(5)
    ]
    return _csv("symbol,name,ipoDate,priceRangeLow,priceRangeHigh,currency,exchange", rows)


def _etf_profile(query: Mapping[str, str], random: Random) -> Body:
    holdings = [
        {"symbol": symbol, "description": f"{symbol} INC", "weight": f"{0.09 - n / 300:.4f}"}
        for n, symbol in enumerate(SYMBOLS)
    ]
    return as_json(
        {
            "net_assets": str(random.randrange(10**9, 10**12)),
            "net_expense_ratio": f"{random.uniform(0.0003, 0.01):.4f}",
            "portfolio_turnover": "n/a",
            "dividend_yield": f"{random.uniform(0, 0.05):.4f}",
            "inception_date": "1999-03-10",
            "leveraged": "NO",
            "sectors": [{"sector": "INFORMATION TECHNOLOGY", "weight": "0.5"}],
            "holdings": holdings if query.get("symbol") else [],
        }
    )


def _news(query: Mapping[str, str], random: Random) -> Body:
    about = query.get("tickers") or query.get("topics", "markets")
    label = "-".join(filter(None, (query.get("tickers"), query.get("topics"), query.get("sort"))))
    feed = [
        {
            "title": headline(random, about),
            "url": f"https://news.example.com/{label}/{moment:%Y%m%d}/{n}",
            "time_published": f"{moment:%Y%m%dT%H%M%S}",
            "authors": ["A. Writer"],
            "summary": headline(random, about),
            "source": "Example",
            "overall_sentiment_score": round(random.uniform(-1, 1), 6),
            "overall_sentiment_label": "Neutral",
            "ticker_sentiment": [
                {
                    "ticker": query.get("tickers", "AAPL"),
                    "relevance_score": "0.5",
                    "ticker_sentiment_score": "0.1",
                    "ticker_sentiment_label": "Neutral",
                }
            ],
            "topics": [{"topic": query.get("topics", "Earnings"), "relevance_score": "0.9"}],
        }
        for n, moment in enumerate(moments(random, 10))
    ]
    return as_json({"items": str(len(feed)), "feed": feed})


def _gainers(_query: Mapping[str, str], random: Random) -> Body:
    def movers(sign: int) -> list[dict[str, str]]:
        return [
            {
                "ticker": symbol,
                "price": f"{random.uniform(1, 500):.2f}",
                "change_amount": f"{sign * random.uniform(0.1, 20):.2f}",
                "change_percentage": f"{sign * random.uniform(1, 90):.4f}%",
                "volume": str(random.randrange(10**5, 10**8)),
            }
            for symbol in random.sample(SYMBOLS, 12)
        ]

    return as_json(
        {
            "metadata": "Top gainers, losers, and most actively traded US tickers",
            "last_updated": f"{today()} 16:15:59 US/Eastern",
            "top_gainers": movers(1),
            "top_losers": movers(-1),
            "most_actively_traded": movers(1),
        }
    )


FUNCTIONS: Mapping[str, Callable[[Mapping[str, str], Random], Body]] = {
    "BALANCE_SHEET": _balance_sheet,
    "OVERVIEW": _overview,
    "EARNINGS_CALENDAR": _earnings_calendar,
    "IPO_CALENDAR": _ipo_calendar,
    "ETF_PROFILE": _etf_profile,
    "NEWS_SENTIMENT": _news,
    "TOP_GAINERS_LOSERS": _gainers,
    "CPI": _series("Consumer Price Index for all Urban Consumers", "index 1982-1984=100", 250, 330),
    "INFLATION": _series("Inflation - US Consumer Prices", "percent", 0, 9),
    "FEDERAL_FUNDS_RATE": _series("Effective Federal Funds Rate", "percent", 0, 6),
    "TREASURY_YIELD": _series("Treasury Constant Maturity Rate", "percent", 1, 6),
}


SIMULATED = Simulated(
    generate,
    rate=Body(
        '{"Note": "Thank you for using Alpha Vantage! Our standard API call frequency is 5 '
        'calls per minute and 25 calls per day."}'
    ),
    quota=Body(
        '{"Information": "We have detected your API key as *** and our standard API rate limit '
        'is 25 requests per day."}'
    ),
    bad_key=Body('{"Error Message": "the parameter apikey is invalid or missing."}'),
    recordings="alphavantage",
)

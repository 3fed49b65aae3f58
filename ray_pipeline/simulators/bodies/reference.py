"""Answers of FRED, FMP, Bithumb's list of markets and Wikipedia's list of companies."""

from collections.abc import Mapping
from html import escape
from random import Random

from pytickersymbols import PyTickerSymbols

from ray_pipeline.simulators.bodies.body import Body, as_json, months, quarters, today

MARKETS = [
    "BTC",
    "ETH",
    "XRP",
    "SOL",
    "DOGE",
    "ADA",
    "TRX",
    "LINK",
    "DOT",
    "UNI",
    "AAVE",
    "ATOM",
    "SHIB",
    "USDT",
    "BNB",
]
HEADER = (
    "Symbol", "Security", "GICS Sector", "GICS Sub-Industry", "Headquarters Location",
    "Date added", "CIK", "Founded",
)  # fmt: skip


def fred(path: str, query: Mapping[str, str], random: Random) -> Body | None:
    """Answer /series/observations."""
    if path != "/series/observations":
        return None
    low, high = (250, 330) if query.get("series_id", "").startswith("CPI") else (0, 6)
    points = [
        {
            "realtime_start": today().isoformat(),
            "realtime_end": today().isoformat(),
            "date": day.isoformat(),
            "value": f"{random.uniform(low, high):.3f}",
        }
        for day in reversed(months(120))
    ]
    points[3]["value"] = "."
    return as_json({"units": "lin", "count": len(points), "observations": points})


def companies() -> list[tuple[str, str]]:
    """Return symbol and name of the S&P 500's members, as the installed package has them."""
    stocks = PyTickerSymbols().get_stocks_by_index("S&P 500")
    found = {str(stock["symbol"]): str(stock["name"]) for stock in stocks if stock.get("symbol")}
    return sorted(found.items())


def fmp(path: str, query: Mapping[str, str], random: Random) -> Body | None:
    """Answer /sp500-constituent and /earnings-calendar."""
    if path == "/sp500-constituent":
        return as_json(
            [
                {
                    "symbol": symbol,
                    "name": name,
                    "sector": "Technology",
                    "subSector": "Software",
                    "headQuarter": "New York, New York",
                    "dateFirstAdded": "1999-01-04",
                    "cik": f"{random.randrange(10**7):010d}",
                    "founded": "1976",
                }
                for symbol, name in companies()
            ]
        )
    if path == "/earnings-calendar":
        del query
        return as_json(
            [
                {
                    "symbol": symbol,
                    "date": today().replace(day=26).isoformat(),
                    "epsActual": None,
                    "epsEstimated": round(random.uniform(0.1, 5), 2),
                    "revenueActual": None,
                    "revenueEstimated": 10**9,
                    "lastUpdated": quarters(1)[0].isoformat(),
                }
                for symbol in ("AAPL", "MSFT", "ORCL", "COST")
            ]
        )
    return None


def bithumb(path: str, _query: Mapping[str, str], _random: Random) -> Body | None:
    """Answer /v1/market/all."""
    if path != "/v1/market/all":
        return None
    return as_json(
        [
            {
                "market": f"KRW-{symbol}",
                "korean_name": f"코인 {symbol}",
                "english_name": symbol.title(),
                "market_warning": "NONE",
            }
            for symbol in MARKETS
        ]
    )


def wikipedia(path: str, _query: Mapping[str, str], random: Random) -> Body | None:
    """Answer the page of the S&P 500's members."""
    if "List_of_S" not in path:
        return None
    head = "".join(f"<th>{name}</th>" for name in HEADER)
    rows = "".join(
        f"<tr><td><a href='/x'>{escape(symbol)}</a></td><td>{escape(name)}</td><td>Industrials</td>"
        "<td>Machinery</td><td>New York, New York</td><td>1999-01-04</td>"
        f"<td>{random.randrange(10**7):010d}</td><td>1902</td></tr>"
        for symbol, name in companies()
    )
    return Body(
        "<!DOCTYPE html><html><head><title>List of S&amp;P 500 companies</title></head><body>"
        f"<table class='wikitable sortable' id='constituents'><tbody><tr>{head}</tr>{rows}</tbody>"
        "</table></body></html>",
        "text/html",
    )

"""Yahoo Finance's answers: fundamentals, charts, and the parts of quoteSummary."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random

from ray_pipeline.simulators.bodies.body import Body, Simulated, as_json, quarters, today


def generate(path: str, query: Mapping[str, str], random: Random) -> Body | None:
    """Answer /v10/finance/quoteSummary, /v8/finance/chart and the fundamentals' timeseries."""
    parts = path.strip("/").split("/")
    symbol = parts[-1]
    if "timeseries" in path:
        return as_json(_timeseries(symbol, query, random))
    if "chart" in parts:
        return as_json(_chart(symbol, random))
    if "quoteSummary" in parts:
        return as_json(_summary(query, random))
    if parts[-2:] == ["calendar", "earnings"]:
        return Body(_calendar(query.get("symbol", ""), random), "text/html")
    if parts[-1] == "getcrumb":
        return Body("simulated", "text/plain")
    return None


def _timeseries(symbol: str, query: Mapping[str, str], random: Random) -> dict[str, object]:
    result = [
        {
            "meta": {"symbol": [symbol], "type": [kind]},
            "timestamp": [_unix(day) for day in quarters(5)],
            kind: [
                {
                    "asOfDate": day.isoformat(),
                    "periodType": "3M",
                    "currencyCode": "USD",
                    "reportedValue": {"raw": (raw := random.randrange(10**6, 10**11)), "fmt": "x"},
                    "dataId": raw % 10**5,
                }
                for day in quarters(5)
            ],
        }
        for kind in query.get("type", "").split(",")
        if kind
    ]
    return {"timeseries": {"result": result, "error": None}}


def _unix(day: object) -> int:
    return int(datetime.fromisoformat(str(day)).replace(tzinfo=UTC).timestamp())


def _calendar(symbol: str, random: Random) -> str:
    """The page of a company's reports, as a browser gets it."""
    columns = ("Symbol", "Company", "Earnings Date", "EPS Estimate", "Reported EPS", "Surprise (%)")
    days = [today() - timedelta(days=91 * quarter + 7) for quarter in range(-1, 8)]
    rows = [columns]
    for day in days:
        estimate = f"{random.uniform(0.5, 3):.2f}"
        reported = f"{random.uniform(0.5, 3):.2f}" if day <= today() else "-"
        hour = random.choice(("8 AM", "4 PM"))
        moment = f"{day:%B} {day.day}, {day.year} at {hour} EDT"
        surprise = "+1.50" if day <= today() else "-"
        rows.append((symbol, f"{symbol} Inc", moment, estimate, reported, surprise))
    cells = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    table = "".join(f"<tr>{row}</tr>" for row in cells)
    return f"<!doctype html><html><body><table>{table}</table></body></html>"


def _chart(symbol: str, random: Random) -> dict[str, object]:
    days = [today() - timedelta(days=n) for n in range(800, 0, -1)]
    days = [day for day in days if day.weekday() < 5]
    closes = [round(random.uniform(90, 110), 2) for _ in days]
    return {
        "chart": {
            "result": [
                {
                    "meta": {
                        "symbol": symbol,
                        "currency": "USD",
                        "exchangeTimezoneName": "America/New_York",
                        "gmtoffset": -18_000,
                    },
                    "timestamp": [_unix(day) + 52_200 for day in days],
                    "indicators": {
                        "quote": [
                            {
                                "open": closes,
                                "high": [value + 1 for value in closes],
                                "low": [value - 1 for value in closes],
                                "close": closes,
                                "volume": [10**6 for _ in closes],
                            }
                        ],
                        "adjclose": [{"adjclose": closes}],
                    },
                }
            ],
            "error": None,
        }
    }


def _figure(raw: float) -> dict[str, object]:
    return {"raw": raw, "fmt": f"{raw:g}"}


def _summary(query: Mapping[str, str], random: Random) -> dict[str, object]:
    dates = [_unix(day) for day in quarters(4)]
    everything: dict[str, object] = {
        "earningsHistory": {
            "history": [
                {
                    "epsActual": _figure(round(random.uniform(0.5, 3), 2)),
                    "epsEstimate": _figure(round(random.uniform(0.5, 3), 2)),
                    "epsDifference": _figure(0.1),
                    "surprisePercent": _figure(0.05),
                    "quarter": _figure(date),
                    "period": f"-{n}q",
                }
                for n, date in enumerate(dates, 1)
            ]
        },
        "institutionOwnership": {
            "ownershipList": [
                {
                    "reportDate": _figure(dates[0]),
                    "organization": name,
                    "pctHeld": _figure(0.08),
                    "position": _figure(random.randrange(10**9)),
                    "value": _figure(random.randrange(10**11)),
                    "pctChange": _figure(0.01),
                }
                for name in ("Vanguard Group Inc", "Blackrock Inc.", "State Street Corporation")
            ]
        },
        "insiderTransactions": {
            "transactions": [
                {
                    "filerName": "COOK TIMOTHY D",
                    "filerRelation": "Chief Executive Officer",
                    "transactionText": text,
                    "moneyText": "",
                    "shares": _figure(shares),
                    "value": _figure(shares * 100),
                    "startDate": _figure(_unix(today()) - 86_400 * 20),
                    "ownership": "D",
                }
                for text, shares in (("Sale at price 100.00 per share.", 500), ("Stock Gift", 20))
            ]
        },
    }
    modules = query.get("modules", "").split(",")
    result = {name: everything[name] for name in modules if name in everything}
    return {"quoteSummary": {"result": [result], "error": None}}


SIMULATED = Simulated(generate, recordings="yfinance")

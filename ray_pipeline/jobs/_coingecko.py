"""What CoinGecko's datasets share."""

from collections.abc import Mapping
from datetime import datetime

from ray_pipeline.jobs.spec import Json, Request

# By how much they are traded against won; what a premium is measured on.
MAJORS: dict[str, str] = {
    "bitcoin": "BTC",
    "ethereum": "ETH",
    "ripple": "XRP",
    "tether": "USDT",
    "binancecoin": "BNB",
    "solana": "SOL",
    "dogecoin": "DOGE",
    "shiba-inu": "SHIB",
    "cardano": "ADA",
    "tron": "TRX",
}
TICKERS_A_PAGE = 100


def batch_id(slot: datetime) -> str:
    """Return a batch's name: its slot."""
    return f"{slot:%Y%m%d_%H%M%S}"


def next_page(request: Request, facts: Mapping[str, str]) -> Request:
    """Return the request of the page after this one."""
    params = {**request.params, "page": str(int(request.params.get("page", "1")) + 1)}
    return Request(request.item, request.path, params, facts, request.page + 1)


def tickers(body: Json) -> list[Json]:
    """Return the tickers of a page; an object that has none is no page of tickers."""
    found = body["tickers"]
    if not isinstance(found, list):
        raise TypeError("tickers is not a list")
    return found


def exchange_of(ticker: Json) -> str:
    """Return the exchange's identifier; empty where it has none."""
    return str((ticker.get("market") or {}).get("identifier") or "")

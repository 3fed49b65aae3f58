"""Parts that several datasets of CoinGecko use."""

from collections.abc import Mapping
from datetime import datetime

from ray_pipeline.jobs.spec import Json, Request, check_one_of

# The coins with the largest volume against the Korean won; the Korean premium is measured on them.
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
COIN_KEYS = ("coin_id", "target_coin_id")


def batch_id(slot: datetime) -> str:
    """Return the name of a slot's batch."""
    return f"{slot:%Y%m%d_%H%M%S}"


def next_page(request: Request, facts: Mapping[str, str]) -> Request:
    """Return the request of the next page."""
    params = {**request.params, "page": str(int(request.params.get("page", "1")) + 1)}
    return Request(request.item, request.path, params, facts, request.page + 1)


def tickers(body: Json) -> list[Json]:
    """Return the tickers of a page.

    Raises:
        LookupError, TypeError: If the object is not a page of tickers.
    """
    page = body["tickers"]
    if not isinstance(page, list):
        raise TypeError("tickers is not a list")
    return page


def check_coin(body: Json, coin: str) -> None:
    """
    Compare the coins of a page of tickers with the requested coin, which is one side of each pair.

    Raises:
        OtherItemAnswered: If the tickers name coins, and the requested coin is not among them.
    """
    # A ticker with another form is not a reason to refuse the page: `each` sets it aside.
    pages = [ticker for ticker in tickers(body) if isinstance(ticker, Mapping)]
    names = (ticker.get(key) for ticker in pages for key in COIN_KEYS)
    check_one_of((name for name in names if isinstance(name, str)), coin)


def exchange_of(ticker: Json) -> str:
    """Return the identifier of a ticker's exchange, empty if it is missing."""
    market = ticker.get("market") if isinstance(ticker, Mapping) else None
    name = market.get("identifier") if isinstance(market, Mapping) else None
    return name if isinstance(name, str) else ""

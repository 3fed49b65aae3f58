"""Prices of Bithumb's coins at every exchange, from which the Korean premium is calculated."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from ray_pipeline.jobs._coingecko import (
    MAJORS,
    TICKERS_A_PAGE,
    check_coin,
    exchange_of,
    next_page,
    tickers,
)
from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import VARIES, Empty, JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import instant, integer, required, text
from ray_pipeline.providers.coingecko import PROVIDER as COINGECKO
from ray_pipeline.schedules.cron import Cron

KOREAN = ("upbit", "bithumb")
PREMIUM = frozenset({"upbit", "bithumb", "binance"})  # a premium compares these exchanges
PAGES = 3  # without a limit, a coin that one of them does not trade is read to its last page
KOREAN_MAJORS = 8
MAJOR_METHOD = "KOREAN_MAJOR_COLLECTION"
KOREA = "@korea"


@table_row
class BithumbTicker:
    """One pair of one exchange at one time."""

    market_code: str
    coingecko_id: str
    symbol: str
    coin_name: str | None
    base: str
    target: str
    exchange_name: str = column("market", "name")
    exchange_id: str = column("market", "identifier")
    last_price: Decimal | None = column("last")
    volume_24h: Decimal | None = column("volume")
    converted_last_usd: Decimal | None = column("converted_last", "usd")
    # Programs that read this table fail on NULL.
    converted_volume_usd: int = column("converted_volume", "usd", otherwise=0)
    trust_score: str | None
    bid_ask_spread_percentage: Decimal | None
    timestamp: datetime
    last_traded_at: datetime | None
    last_fetch_at: datetime | None
    is_anomaly: bool
    is_stale: bool
    trade_url: str | None
    coin_mcap_usd: int | None
    match_method: str
    market_cap_rank: int | None


def plan(run: Run) -> Iterator[Request]:
    """
    Request the Korean pairs of the majors, then every mapped coin at all exchanges.

    The Korean pairs of a major may stand on its tenth page; a filter finds them with one call.
    """
    mapped = {str(row["coingecko_id"]): row for row in run.rows("mapping")}
    for coin, symbol in list(MAJORS.items())[:KOREAN_MAJORS]:
        row = mapped.get(coin, {"symbol": symbol, "market_code": f"KRW-{symbol}"})
        yield _request(coin, row, item=coin + KOREA, exchange_ids=",".join(KOREAN))
    for coin, symbol in list(MAJORS.items())[:KOREAN_MAJORS]:
        if coin not in mapped:
            yield _request(coin, {"symbol": symbol, "market_code": f"KRW-{symbol}"}, item=coin)
    for coin, row in mapped.items():
        yield _request(coin, row, item=coin)


def _request(coin: str, row: Json, *, item: str, **params: str) -> Request:
    rank, method = row.get("market_cap_rank"), row.get("match_method")
    return Request(
        item=item,
        path=f"/coins/{coin}/tickers",
        params={
            "include_exchange_logo": "false",
            "order": "trust_score_desc",
            "page": "1",
            "depth": "false",
            **params,
        },
        facts={
            "coin": coin,
            "symbol": str(row["symbol"]),
            "market_code": str(row["market_code"]),
            "method": MAJOR_METHOD if method is None else str(method),
            "rank": "" if rank is None else str(rank),
        },
    )


def follow(body: Json, request: Request, _run: Run) -> Request | None:
    """Return the next page while an exchange that the premium compares is missing."""
    page = tickers(body)
    seen = set(request.facts.get("seen", "").split()) | {exchange_of(ticker) for ticker in page}
    if request.item.endswith(KOREA) or len(page) < TICKERS_A_PAGE:
        return None
    if request.page + 1 >= PAGES or seen >= PREMIUM:
        return None
    return next_page(request, {**request.facts, "seen": " ".join(sorted(seen & PREMIUM))})


def parse(body: Json, request: Request, run: Run) -> Iterator[object]:
    """
    Read tickers.

    {"name": "Bitcoin", "tickers": [{"base": "BTC", "target": "KRW", "last": 1.0, "volume": 2.0,
     "market": {"name": "Upbit", "identifier": "upbit"}, "converted_last": {"usd": 1}, ...}]}
    """
    name = text(body.get("name"))
    check_coin(body, request.facts["coin"])
    yield from each(tickers(body), lambda ticker: _row(ticker, name, request, run))


def _row(ticker: Json, name: str | None, request: Request, run: Run) -> BithumbTicker:
    facts, exchange = request.facts, required(ticker["market"]["identifier"])
    traded, fetched = instant(ticker.get("last_traded_at")), instant(ticker.get("last_fetch_at"))
    return read_row(
        BithumbTicker,
        ticker,
        market_code=facts["market_code"],
        coingecko_id=facts["coin"],
        symbol=facts["symbol"],
        coin_name=name,
        timestamp=instant(ticker.get("timestamp")) or fetched or traded or run.slot,
        match_method=_method(exchange, facts),
        market_cap_rank=integer(facts["rank"]),
    )


def _method(exchange: str, facts: Json) -> str:
    """Return the method of a pair: the same for both requests of a major, whichever stores it."""
    korean_major = exchange in KOREAN and facts["coin"] in list(MAJORS)[:KOREAN_MAJORS]
    return MAJOR_METHOD if korean_major else str(facts["method"])


SPEC = JobSpec(
    name="coingecko_tickers_bithumb",
    title="Prices of Bithumb's coins at every exchange",
    sources=(Source(COINGECKO, plan, parse, follow=follow, empty=Empty.SOMETIMES, least=VARIES),),
    tables=(
        Table(
            "coingecko_tickers_bithumb",
            BithumbTicker,
            key=("coingecko_id", "exchange_id", "base", "target", "timestamp"),
            touched="updated_at",
            ranges=(Range("last_price", 0), Range("converted_volume_usd", 0)),
        ),
    ),
    schedule=Cron("40 */12 * * *"),
    inputs={
        "mapping": "SELECT * FROM (SELECT DISTINCT ON (coingecko_id) coingecko_id, symbol, "
        "market_code, match_method, market_cap_rank FROM bithumb_coingecko_mapping "
        "WHERE coingecko_id IS NOT NULL AND is_active "
        "ORDER BY coingecko_id, match_score DESC NULLS LAST, symbol) AS best "
        "ORDER BY market_cap_rank NULLS LAST, symbol"
    },
    # Most coins have fewer than 100 tickers; two runs a day are about 31,000 calls a month.
    pages=1.3,
    typical_items=393,
    depends=("bithumb_coingecko_mapping",),
)

"""Where Bithumb's coins are traded elsewhere, and at what price: what a premium is made of."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ray_pipeline.jobs._coingecko import MAJORS, TICKERS_A_PAGE, exchange_of, next_page, tickers
from ray_pipeline.jobs.spec import JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import at, decimal, instant, integer, required, text
from ray_pipeline.providers.coingecko import PROVIDER as COINGECKO
from ray_pipeline.schedules.cron import Cron

KOREAN = ("upbit", "bithumb")
WANTED = frozenset({"upbit", "bithumb", "binance"})  # a premium is the difference between them
PAGES = 3  # a coin that is not on all three would be read to its last page
KOREAN_MAJORS = 8
MAJOR_METHOD = "KOREAN_MAJOR_COLLECTION"
KOREA = "@korea"


@dataclass(frozen=True, slots=True)
class BithumbTicker:
    """One pair of one exchange at one time."""

    market_code: str
    coingecko_id: str
    symbol: str
    coin_name: str | None
    base: str
    target: str
    exchange_name: str
    exchange_id: str
    last_price: Decimal | None
    volume_24h: Decimal | None
    converted_last_usd: Decimal | None
    converted_volume_usd: int
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
    The majors' Korean pairs first, then every mapped coin at all exchanges, the majors too.

    A filter costs one call where a major's Korean pairs may be on its tenth page.
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
    """The next page while there is one and an exchange that a premium needs is missing."""
    page = tickers(body)
    seen = set(request.facts.get("seen", "").split()) | {exchange_of(one) for one in page}
    if request.item.endswith(KOREA) or len(page) < TICKERS_A_PAGE:
        return None
    if request.page + 1 >= PAGES or seen >= WANTED:
        return None
    return next_page(request, {**request.facts, "seen": " ".join(sorted(seen & WANTED))})


def parse(body: Json, request: Request, run: Run) -> Iterator[object]:
    """
    Read tickers.

    {"name": "Bitcoin", "tickers": [{"base": "BTC", "target": "KRW", "last": 1.0, "volume": 2.0,
     "market": {"name": "Upbit", "identifier": "upbit"}, "converted_last": {"usd": 1}, ...}]}
    """
    name = text(body.get("name"))
    yield from each(tickers(body), lambda ticker: _row(ticker, name, request, run))


def _row(ticker: Json, name: str | None, request: Request, run: Run) -> BithumbTicker:
    facts, exchange = request.facts, required(ticker["market"]["identifier"])
    traded, fetched = instant(ticker.get("last_traded_at")), instant(ticker.get("last_fetch_at"))
    return BithumbTicker(
        market_code=facts["market_code"],
        coingecko_id=facts["coin"],
        symbol=facts["symbol"],
        coin_name=name,
        base=required(ticker["base"]),
        target=required(ticker["target"]),
        exchange_name=required(ticker["market"]["name"]),
        exchange_id=exchange,
        last_price=decimal(ticker.get("last")),
        volume_24h=decimal(ticker.get("volume")),
        converted_last_usd=decimal(at(ticker, "converted_last", "usd")),
        # Readers of this table fail at NULL.
        converted_volume_usd=integer(at(ticker, "converted_volume", "usd")) or 0,
        trust_score=text(ticker.get("trust_score")),
        bid_ask_spread_percentage=decimal(ticker.get("bid_ask_spread_percentage")),
        timestamp=instant(ticker.get("timestamp")) or fetched or traded or run.slot,
        last_traded_at=traded,
        last_fetch_at=fetched,
        is_anomaly=bool(ticker.get("is_anomaly")),
        is_stale=bool(ticker.get("is_stale")),
        trade_url=text(ticker.get("trade_url")),
        coin_mcap_usd=integer(ticker.get("coin_mcap_usd")),
        match_method=_method(exchange, facts),
        market_cap_rank=integer(facts["rank"]),
    )


def _method(exchange: str, facts: Json) -> str:
    """One answer for a pair, whichever of a major's two requests brought it."""
    korean_major = exchange in KOREAN and facts["coin"] in list(MAJORS)[:KOREAN_MAJORS]
    return MAJOR_METHOD if korean_major else str(facts["method"])


SPEC = JobSpec(
    name="coingecko_tickers_bithumb",
    title="Prices of Bithumb's coins at every exchange",
    sources=(Source(COINGECKO, plan, parse, follow=follow),),
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

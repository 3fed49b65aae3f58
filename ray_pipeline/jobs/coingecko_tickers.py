"""The ten majors at every exchange, with the depth of their books."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from ray_pipeline.jobs._coingecko import (
    MAJORS,
    TICKERS_A_PAGE,
    batch_id,
    check_coin,
    next_page,
    tickers,
)
from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import VARIES, Empty, JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import integer, required
from ray_pipeline.providers.coingecko import PROVIDER as COINGECKO
from ray_pipeline.schedules.cron import Cron

KOREAN = ("upbit", "bithumb", "korbit", "coinone", "gopax")
KOREA = "@korea"
PAGES = 5  # later pages list exchanges with almost no volume


@table_row
class CoinTicker:
    """One pair of one exchange in one batch."""

    batch_id: str
    coingecko_id: str
    coin_symbol: str
    coin_name: str
    market_cap_rank: int | None
    base_symbol: str = column("base")
    target_symbol: str = column("target")
    market_name: str = column("market", "name")
    market_identifier: str = column("market", "identifier")
    is_korean_exchange: bool
    has_trading_incentive: bool = column("market", "has_trading_incentive")
    last_price: Decimal | None = column("last")
    volume: Decimal | None
    converted_last_usd: Decimal | None = column("converted_last", "usd")
    converted_last_btc: Decimal | None = column("converted_last", "btc")
    converted_volume_usd: Decimal | None = column("converted_volume", "usd")
    trust_score: str | None
    bid_ask_spread_percentage: Decimal | None
    cost_to_move_up_usd: Decimal | None
    cost_to_move_down_usd: Decimal | None
    is_anomaly: bool
    is_stale: bool
    trade_url: str | None
    timestamp: datetime | None
    last_traded_at: datetime | None
    last_fetch_at: datetime | None
    collected_at: datetime


def plan(run: Run) -> Iterator[Request]:
    """Request the Korean pairs of each coin, which late pages may hold, then its pairs by trust."""
    ranks = {str(row["coingecko_id"]): row["market_cap_rank"] for row in run.rows("ranks")}
    for coin, symbol in MAJORS.items():
        rank = ranks.get(coin)
        facts = {"coin": coin, "symbol": symbol, "rank": "" if rank is None else str(rank)}
        params = {
            "include_exchange_logo": "false",
            "order": "trust_score_desc",
            "page": "1",
            "depth": "true",
        }
        path = f"/coins/{coin}/tickers"
        yield Request(coin + KOREA, path, {**params, "exchange_ids": ",".join(KOREAN)}, facts)
        yield Request(coin, path, params, facts)


def follow(body: Json, request: Request, _run: Run) -> Request | None:
    """Return the next page while pages are full, up to the fifth."""
    if len(tickers(body)) < TICKERS_A_PAGE or request.page + 1 >= PAGES:
        return None
    return next_page(request, request.facts)


def meaning_of_empty(request: Request) -> Empty:
    """
    Return FAILURE for the first page of a major, NORMAL for later pages and for Korean exchanges,
    which may not trade each of them.
    """
    is_first = request.page == 0 and not request.item.endswith(KOREA)
    return Empty.FAILURE if is_first else Empty.NORMAL


def parse(body: Json, request: Request, run: Run) -> Iterator[object]:
    """
    Read tickers.

    {"name": "Bitcoin", "tickers": [{"base": "BTC", "target": "USDT", "last": 48897.0,
     "market": {"name": "FTX.US", "identifier": "ftx_us", "has_trading_incentive": false},
     "cost_to_move_up_usd": 1.0, ...}]}
    """
    name = required(body["name"])
    check_coin(body, request.facts["coin"])
    yield from each(tickers(body), lambda ticker: _row(ticker, name, request, run))


def _row(ticker: Json, name: str, request: Request, run: Run) -> CoinTicker:
    return read_row(
        CoinTicker,
        ticker,
        batch_id=batch_id(run.slot),
        coingecko_id=request.facts["coin"],
        coin_symbol=request.facts["symbol"],
        coin_name=name,
        market_cap_rank=integer(request.facts["rank"]),
        is_korean_exchange=ticker["market"]["identifier"] in KOREAN,
        collected_at=run.slot,
    )


SPEC = JobSpec(
    name="coingecko_tickers",
    title="The ten majors at every exchange",
    sources=(Source(COINGECKO, plan, parse, follow=follow, empty=meaning_of_empty, least=VARIES),),
    tables=(
        Table(
            "coingecko_tickers",
            CoinTicker,
            key=("batch_id", "coingecko_id", "market_identifier", "base_symbol", "target_symbol"),
            touched="updated_at",
            ranges=(Range("last_price", 0),),
        ),
    ),
    schedule=Cron("20 3 * * *"),
    inputs={"ranks": "SELECT coingecko_id, market_cap_rank FROM coingecko_id_mapping"},
    pages=3.0,
    typical_items=20,
    depends=("coingecko_id_mapping",),
)

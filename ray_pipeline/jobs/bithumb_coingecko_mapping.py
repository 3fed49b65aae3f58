"""Map each Korean won market of Bithumb to a coin of CoinGecko."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from ray_pipeline.jobs._bithumb_coins import COINS
from ray_pipeline.jobs.spec import JobSpec, Record, Run
from ray_pipeline.jobs.table import Table
from ray_pipeline.schedules.cron import Cron

WON = "KRW-"
LISTED = Decimal(100)
UNSEEN = Decimal(50)  # the coin is not among CoinGecko's first 5,000: a person should check it
UNKNOWN = Decimal(0)  # no coin is listed; `v_bithumb_coingecko_issues` shows the market


COIN_COLUMNS = (
    "coingecko_id", "coingecko_name", "market_cap_rank", "market_cap_usd", "current_price_usd"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MappedMarket:
    """One market and its coin."""

    market_code: str
    symbol: str
    bithumb_korean_name: str | None
    bithumb_english_name: str | None
    coingecko_id: str | None
    coingecko_name: str | None
    market_cap_rank: int | None
    market_cap_usd: int | None
    current_price_usd: Decimal | None
    match_method: str
    match_score: Decimal
    is_verified: bool


def derive(run: Run) -> Iterator[object]:
    """
    Look up the coin of every won market; mappings that a person has verified are not changed.

    A market without a coin is stored too, so that `v_bithumb_coingecko_issues` shows it. Without
    any coin nothing is returned: an empty table of coins must not clear the mappings.
    """
    if run.inputs.get("coins") == ():
        return
    decided = set(run.values("decided", "market_code"))
    coins = {str(row["coingecko_id"]): row for row in run.rows("coins")}
    for market in run.rows("markets"):
        if str(market["market_code"]) not in decided:
            yield _row(market, coins)


def _row(market: Record, coins: dict[str, Record]) -> MappedMarket:
    code = str(market["market_code"])
    symbol = code.removeprefix(WON)
    coin_id = COINS.get(symbol)
    coin: Record = coins.get(coin_id or "", {})
    return MappedMarket(
        market_code=code,
        symbol=symbol,
        bithumb_korean_name=market["korean_name"],
        bithumb_english_name=market["english_name"],
        coingecko_id=coin_id,
        coingecko_name=coin.get("name"),
        market_cap_rank=coin.get("market_cap_rank"),
        market_cap_usd=coin.get("market_cap_usd"),
        current_price_usd=coin.get("current_price_usd"),
        match_method="HARDCODED_MAPPING" if coin_id else "NO_MATCH",
        match_score=LISTED if coin else UNSEEN if coin_id else UNKNOWN,
        is_verified=bool(coin),
    )


SPEC = JobSpec(
    name="bithumb_coingecko_mapping",
    title="Bithumb's won markets and CoinGecko's coins",
    derive=derive,
    tables=(
        Table(
            "bithumb_coingecko_mapping",
            MappedMarket,
            key=("market_code",),
            touched="updated_at",
            clears=COIN_COLUMNS,  # the market's mapping may be removed
        ),
    ),
    schedule=Cron("20 0 * * *"),
    inputs={
        "markets": "SELECT market_code, korean_name, english_name FROM market_code_bithumb "
        "WHERE market_code LIKE 'KRW-%' ORDER BY market_code",
        "coins": "SELECT coingecko_id, name, market_cap_rank, market_cap_usd, current_price_usd "
        "FROM coingecko_id_mapping",
        "decided": "SELECT market_code FROM bithumb_coingecko_mapping "
        "WHERE verified_by IS NOT NULL",
    },
    depends=("bithumb_markets", "coingecko_id_mapping"),
    # A closed market keeps its row, and with it a person's verification.
    prune="""
        UPDATE bithumb_coingecko_mapping AS mapping
        SET is_active = NOT is_active, updated_at = now()
        WHERE EXISTS (SELECT FROM market_code_bithumb)
          AND is_active <> EXISTS (SELECT FROM market_code_bithumb AS market
                                   WHERE market.market_code = mapping.market_code)
    """,
)

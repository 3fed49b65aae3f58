"""Institutional holders of the S&P 500's members, and the trades of their insiders."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal

from ray_pipeline.jobs._members import MEMBERS
from ray_pipeline.jobs._yahoo import figure, raw, summary, yahoo_symbol
from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import MOSTLY_WHOLE, Empty, JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import day, from_unix, integer
from ray_pipeline.providers.yahoo import PROVIDER as YAHOO
from ray_pipeline.schedules.cron import NEW_YORK, Cron

# Words in Yahoo's description of a trade, and the kind of trade they tell.
KINDS = (
    ("gift", "Gift"),
    ("award", "Grant"),
    ("grant", "Grant"),
    ("exercise", "Exercise"),
    ("conversion", "Exercise"),
    ("sale", "Sale"),
    ("purchase", "Buy"),
)


def _integer(value: Json) -> int | None:
    return integer(raw(value))


def _percent(value: Json) -> Decimal | None:
    share = figure(value)
    return None if share is None else share * 100


def _day(value: Json) -> date | None:
    """Return a date that Yahoo writes in seconds, or as YYYY-MM-DD."""
    written = raw(value)
    if isinstance(written, str) and "-" in written:
        return day(written)
    moment = from_unix(written)
    return moment.date() if moment else None


@table_row
class InstitutionalHolder:
    """One institution's newest report about one company."""

    symbol: str
    holder_name: str = column("organization")
    shares_held: int | None = column("position", read=_integer)
    date_reported: date | None = column("reportDate", read=_day)
    change_pct: Decimal | None = column("pctChange", read=_percent)
    pct_out: Decimal | None = column("pctHeld", read=_percent)
    value_usd: Decimal | None = column("value", read=figure)


@table_row
class InsiderTrade:
    """One trade of one insider."""

    symbol: str
    insider_name: str | None = column("filerName")
    position: str | None = column("filerRelation")
    transaction_date: date = column("startDate", read=_day)
    transaction_type: str
    shares_transacted: int | None = column("shares", read=_integer)
    price: Decimal | None
    shares_owned_after: int | None = None  # Yahoo does not publish it
    transaction_text: str | None = column("transactionText")
    value_usd: Decimal | None = column("value", read=figure)
    ownership: str | None
    trade_key: str


def plan(run: Run) -> Iterator[Request]:
    """Make one request for each company, which returns holders and trades."""
    for symbol in run.values("members", "symbol"):
        yield Request(
            item=symbol,
            path=f"/v10/finance/quoteSummary/{yahoo_symbol(symbol)}",
            params={
                "modules": "institutionOwnership,insiderTransactions",
                "corsDomain": "finance.yahoo.com",
                "formatted": "false",
            },
        )


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """
    Read holders and trades.

    {"quoteSummary": {"result": [{
      "institutionOwnership": {"ownershipList": [{"organization": "...", "reportDate": 1735603200,
        "pctHeld": 0.08, "position": 1, "value": 2, "pctChange": 0.01}]},
      "insiderTransactions": {"transactions": [{"filerName": "...", "filerRelation": "...",
        "transactionText": "Sale at price 100.00 per share.", "shares": 500, "value": 50000,
        "startDate": 1735603200, "ownership": "D"}]}}]}}
    """
    modules, symbol = summary(body), request.item
    if not modules:
        return
    holders = modules["institutionOwnership"]["ownershipList"]
    yield from each(holders, lambda holder: read_row(InstitutionalHolder, holder, symbol=symbol))
    trades = modules["insiderTransactions"]["transactions"]
    yield from each(trades, _trades(symbol))


def _trades(symbol: str) -> Callable[[Json], InsiderTrade]:
    """Return a reader of one answer's trades, which counts equal trades."""
    seen: Counter[tuple[object, ...]] = Counter()

    def read(trade: Json) -> InsiderTrade:
        row = read_row(
            InsiderTrade, trade, symbol=symbol, transaction_type="", price=None, trade_key=""
        )
        # Yahoo gives trades no id, and an insider may make two equal trades on one day. The key is
        # a hash of all values and of the number of equal trades before this one.
        identity = (
            row.insider_name, row.position, row.transaction_date, row.transaction_text,
            row.shares_transacted, row.value_usd, row.ownership
        )  # fmt: skip
        seen[identity] += 1
        value, shares = row.value_usd, row.shares_transacted
        return replace(
            row,
            transaction_type=kind_of(row.transaction_text),
            price=round(value / shares, 6) if value and shares else None,
            trade_key=_key(*identity, seen[identity]),
        )

    return read


def kind_of(written: str | None) -> str:
    """Return the kind of a trade from Yahoo's description, 'Other' if it names none."""
    low = (written or "").lower()
    return next((kind for word, kind in KINDS if word in low), "Other")


def _key(*parts: object) -> str:
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:32]


SPEC = JobSpec(
    name="company_ownership",
    title="Institutions that hold the S&P 500's members, and insiders' trades",
    sources=(Source(YAHOO, plan, parse, empty=Empty.UNKNOWN, least=MOSTLY_WHOLE),),
    tables=(
        Table(
            "institutional_holders",
            InstitutionalHolder,
            key=("symbol", "holder_name"),
            touched="updated_at",
            ranges=(Range("pct_out", 0, 100),),
        ),
        Table("insider_trading", InsiderTrade, key=("symbol", "trade_key"), touched="updated_at"),
    ),
    schedule=Cron("40 5 * * 0", NEW_YORK),
    inputs=MEMBERS,
    typical_items=503,
    depends=("sp500_companies",),
)

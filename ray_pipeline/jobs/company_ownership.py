"""Who holds the S&P 500's members, and what their insiders trade."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ray_pipeline.jobs._yahoo import MEMBERS, figure, raw, summary, yahoo_symbol
from ray_pipeline.jobs.spec import JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import at, day, from_unix, integer, required, text
from ray_pipeline.providers.yahoo import PROVIDER as YAHOO
from ray_pipeline.schedules.cron import NEW_YORK, Cron

# What Yahoo's text begins with or has in it, and what that is.
KINDS = (
    ("gift", "Gift"),
    ("award", "Grant"),
    ("grant", "Grant"),
    ("exercise", "Exercise"),
    ("conversion", "Exercise"),
    ("sale", "Sale"),
    ("purchase", "Buy"),
)


@dataclass(frozen=True, slots=True)
class InstitutionalHolder:
    """One institution's newest report about one company."""

    symbol: str
    holder_name: str
    shares_held: int | None
    date_reported: date | None
    change_pct: Decimal | None
    pct_out: Decimal | None
    value_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class InsiderTrade:
    """One trade of one insider."""

    symbol: str
    insider_name: str | None
    position: str | None
    transaction_date: date
    transaction_type: str
    shares_transacted: int | None
    price: Decimal | None
    shares_owned_after: int | None
    transaction_text: str | None
    value_usd: Decimal | None
    ownership: str | None
    trade_key: str


def plan(run: Run) -> Iterator[Request]:
    """One call a company brings both."""
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
    found = summary(body)
    symbol = request.item
    holders = at(found, "institutionOwnership", "ownershipList") or ()
    yield from each(holders, lambda holder: _holder(symbol, holder))
    trades = at(found, "insiderTransactions", "transactions") or ()
    yield from each(trades, _trades(symbol))


def _holder(symbol: str, holder: Json) -> InstitutionalHolder:
    return InstitutionalHolder(
        symbol=symbol,
        holder_name=required(holder["organization"]),
        shares_held=integer(raw(holder.get("position"))),
        date_reported=_day(holder.get("reportDate")),
        change_pct=_percent(holder.get("pctChange")),
        pct_out=_percent(holder.get("pctHeld")),
        value_usd=figure(holder.get("value")),
    )


def _trades(symbol: str) -> Callable[[Json], InsiderTrade]:
    """Return a reader of one answer's trades, which counts the ones that are equal."""
    seen: Counter[tuple[object, ...]] = Counter()

    def read(trade: Json) -> InsiderTrade:
        when = _day(trade["startDate"])
        if when is None:
            raise ValueError("no date")
        name, position = text(trade.get("filerName")), text(trade.get("filerRelation"))
        written = text(trade.get("transactionText"))
        shares, value = integer(raw(trade.get("shares"))), figure(trade.get("value"))
        ownership = text(trade.get("ownership"))
        identity = (name, position, when, written, shares, value, ownership)
        seen[identity] += 1
        return InsiderTrade(
            symbol=symbol,
            insider_name=name,
            position=position,
            transaction_date=when,
            transaction_type=kind_of(written),
            shares_transacted=shares,
            price=round(value / shares, 6) if value and shares else None,
            shares_owned_after=None,
            transaction_text=written,
            value_usd=value,
            ownership=ownership,
            trade_key=_key(*identity, seen[identity]),
        )

    return read


def kind_of(written: str | None) -> str:
    """Return the kind of a trade from Yahoo's text; what it does not say is not guessed."""
    low = (written or "").lower()
    return next((kind for word, kind in KINDS if word in low), "Other")


def _key(*parts: object) -> str:
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:32]


def _percent(value: Json) -> Decimal | None:
    share = figure(value)
    return None if share is None else share * 100


def _day(value: Json) -> date | None:
    """Return a date that Yahoo writes in seconds, or as YYYY-MM-DD."""
    found = raw(value)
    if isinstance(found, str) and "-" in found:
        return day(found)
    moment = from_unix(found)
    return moment.date() if moment else None


SPEC = JobSpec(
    name="company_ownership",
    title="Institutions that hold the S&P 500's members, and insiders' trades",
    sources=(Source(YAHOO, plan, parse),),
    tables=(
        Table(
            "institutional_holders",
            InstitutionalHolder,
            key=("symbol", "holder_name"),
            touched="updated_at",
            fill=("change_pct",),
            ranges=(Range("pct_out", 0, 100),),
        ),
        Table(
            "insider_trading",
            InsiderTrade,
            key=("symbol", "trade_key"),
            touched="updated_at",
        ),
    ),
    schedule=Cron("40 5 * * 0", NEW_YORK),
    inputs=MEMBERS,
    typical_items=503,
    depends=("sp500_companies",),
)

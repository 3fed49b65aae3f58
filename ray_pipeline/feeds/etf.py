"""Trades of the ETFs in `etf_basic_info` from Finnhub: the most popular ones, 50 per API key."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import msgspec

from ray_pipeline.feeds import finnhub
from ray_pipeline.feeds.feed import Feed, RedisKeys, Sharding
from ray_pipeline.feeds.layout import (
    SCHEMA_VERSION,
    Layout,
    copy_number,
    copy_text,
    json_number,
    json_text,
)
from ray_pipeline.feeds.protocol import Arrival
from ray_pipeline.feeds.records import FORMAT_VERSION
from ray_pipeline.feeds.symbol_source import Fill, Row, SymbolSource

SOURCE = "finnhub_etf_websocket"
CONDITIONS_LIMIT = 50  # characters; the column of the client's table
SIMULATED = "SPY IVV VOO VTI QQQ IWM DIA GLD TLT HYG XLF XLK XLE SMH ARKK"


class EtfTrade(
    msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag=FORMAT_VERSION, tag_field="v"
):
    """One trade of an ETF. The client's table holds the trade conditions as one text."""

    symbol: str
    price: Decimal
    volume: Decimal | None
    timestamp_ms: int  # event time
    epoch: int
    seq: int
    pod_index: int = 0  # the shard
    trade_conditions: str | None = None
    source: str | None = None
    created_at: datetime | None = None


_trade = finnhub.trade_maker(SOURCE)


def trade(event: finnhub.Print, arrival: Arrival, seq: int) -> EtfTrade:
    """
    Return the trade of an ETF.

    Raises:
        BadRecord: If the symbol, the price, the volume or the time is unusable.
    """
    stock = _trade(event, arrival, seq)
    conditions = stock.trade_conditions
    return EtfTrade(
        symbol=stock.symbol,
        price=stock.price,
        volume=stock.volume,
        timestamp_ms=stock.timestamp_ms,
        epoch=stock.epoch,
        seq=stock.seq,
        pod_index=stock.pod_index,
        trade_conditions=None if conditions is None else ",".join(conditions)[:CONDITIONS_LIMIT],
        source=stock.source,
        created_at=stock.created_at,
    )


def _line(trade: EtfTrade, received: str) -> str:
    return (
        f"{copy_text(trade.symbol)}\t{trade.price!s}\t{copy_number(trade.volume)}\t"
        f"{trade.timestamp_ms}\t{copy_text(trade.trade_conditions)}\t{received}\t"
        f"{copy_text(trade.source or SOURCE)}\t{trade.pod_index}\t{trade.epoch}\t{trade.seq}\n"
    )


def _value(trade: EtfTrade) -> str:
    return (
        f'{{"symbol":{json_text(trade.symbol)},"price":{trade.price!s},'
        f'"volume":{json_number(trade.volume)},"pod_index":{trade.pod_index},'
        f'"timestamp":{trade.timestamp_ms},"source":"etf_websocket",'
        f'"event_time_ms":{trade.timestamp_ms},"schema":{SCHEMA_VERSION}}}'
    )


def _simulated() -> Iterator[Row]:
    for rank, symbol in enumerate(SIMULATED.split(), 1):
        yield symbol, symbol, rank


COLUMNS = (
    "symbol", "price", "volume", "timestamp_ms", "trade_conditions", "created_at", "source",
    "pod_index", "epoch", "seq",
)  # fmt: skip

FEED = Feed(
    name="etf",
    title="Trades of ETFs",
    rank=4,
    topic="etf-websocket-trades",
    table="etf_realtime_prices",
    layout=Layout(
        kind=EtfTrade,
        columns=COLUMNS,
        line=_line,
        value=_value,
    ),
    redis=RedisKeys("stocks:etf", ttl_s=432_000, hash="etf_realtime_data", channel="etf_updates"),
    protocol=replace(finnhub.protocol(SOURCE), record=trade),
    symbols=SymbolSource(
        query="SELECT symbol FROM etf_basic_info ORDER BY popularity_rank NULLS LAST, symbol",
        poll_s=60.0,
        spelling=finnhub.spelling,
        # A job maintains the table, but a demo may run before the job does.
        simulated=Fill(
            table="etf_basic_info",
            insert="""
                INSERT INTO etf_basic_info (symbol, name, popularity_rank) VALUES (%s, %s, %s)
                ON CONFLICT (symbol) DO NOTHING
            """,
            rows=_simulated,
            source="the list of simulated ETFs",
        ),
    ),
    simulator="finnhub",
    key_provider=finnhub.PROVIDER,
    sharding=Sharding(shards=1, symbols_per_connection=finnhub.SYMBOLS_PER_CONNECTION),
    calendar="XNYS",
)

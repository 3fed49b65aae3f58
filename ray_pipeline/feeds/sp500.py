"""S&P 500 trades from Finnhub: one connection and key per shard, at most 50 symbols each."""

from collections.abc import Iterator

from ray_pipeline.feeds import finnhub
from ray_pipeline.feeds.feed import Feed, RedisKeys, Sharding
from ray_pipeline.feeds.layout import (
    NULL,
    SCHEMA_VERSION,
    Layout,
    copy_array,
    copy_text,
    json_number,
    json_text,
)
from ray_pipeline.feeds.records import Trade
from ray_pipeline.feeds.symbol_source import Fill, Row, SymbolSource

SOURCE = "finnhub_sp500_websocket"
INDEX = "S&P 500"


def _line(trade: Trade, received: str) -> str:
    return (
        f"{copy_text(trade.symbol)}\t{trade.price!s}\t"
        f"{NULL if trade.volume is None else trade.volume!s}\t{trade.timestamp_ms}\t"
        f"{copy_array(trade.trade_conditions)}\t{copy_text(trade.pod_name)}\t"
        f"{copy_text(trade.source or SOURCE)}\t{trade.pod_index}\t{received}\t"
        f"{trade.epoch}\t{trade.seq}\n"
    )


def _value(trade: Trade) -> str:
    return (
        f'{{"symbol":{json_text(trade.symbol)},"price":{trade.price!s},'
        f'"volume":{json_number(trade.volume)},"pod_index":{trade.pod_index},'
        f'"timestamp":{trade.timestamp_ms},"source":"sp500_websocket",'
        f'"event_time_ms":{trade.timestamp_ms},"schema":{SCHEMA_VERSION}}}'
    )


def _members() -> Iterator[Row]:
    """Yield the members that pytickersymbols knows."""
    from pytickersymbols import PyTickerSymbols  # noqa: PLC0415 - 10 MB, for an empty table only

    for stock in PyTickerSymbols().get_stocks_by_index(INDEX):
        yield (
            stock["symbol"],
            stock["name"],
            next(iter(stock.get("industries", ())), None),
            stock.get("country"),
            stock.get("metadata", {}).get("founded"),
            stock.get("metadata", {}).get("website"),
        )


COLUMNS = (
    "symbol", "price", "volume", "timestamp_ms", "trade_conditions", "pod_name", "source",
    "pod_index", "created_at", "epoch", "seq",
)  # fmt: skip

FEED = Feed(
    name="sp500",
    title="Trades of the S&P 500 members",
    rank=1,
    topic="sp500-websocket-trades",
    table="sp500_websocket_trades",
    layout=Layout(
        kind=Trade,
        columns=COLUMNS,
        line=_line,
        value=_value,
    ),
    redis=RedisKeys(
        "stocks:sp500", ttl_s=432_000, hash="sp500_realtime_data", channel="sp500_updates"
    ),
    protocol=finnhub.protocol(SOURCE),
    symbols=SymbolSource(
        query="SELECT symbol FROM sp500_companies WHERE is_member ORDER BY symbol",
        poll_s=60.0,
        spelling=finnhub.spelling,
        if_empty=Fill(
            table="sp500_companies",
            insert="""
                INSERT INTO sp500_companies
                    (symbol, company_name, gics_sector, headquarters, founded, website)
                VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (symbol) DO NOTHING
            """,
            rows=_members,
            source="pytickersymbols",
        ),
    ),
    simulator="finnhub",
    key_provider=finnhub.PROVIDER,
    sharding=Sharding(shards=10, symbols_per_connection=finnhub.SYMBOLS_PER_CONNECTION, grows=True),
    partitions=3,
    calendar="XNYS",
)

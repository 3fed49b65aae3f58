"""Trades of the day's top movers from Finnhub: one connection, symbols from `top_gainers`."""

from collections.abc import Iterator

from ray_pipeline.feeds import finnhub
from ray_pipeline.feeds.feed import Feed, RedisKeys
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

SOURCE = "finnhub_websocket"
SIMULATED = {
    "top_gainers": "GME AMC PLTR SOFI RIVN LCID NIO MARA RIOT COIN",
    "top_losers": "HOOD UPST AFRM DKNG ROKU SNAP PINS U PATH AI",
    "most_actively_traded": "IONQ RKLB JOBY ACHR CVNA W CHWY BYND PTON SPCE",
}


def _line(trade: Trade, received: str) -> str:
    return (
        f"{copy_text(trade.symbol)}\t{trade.price!s}\t"
        f"{NULL if trade.volume is None else trade.volume!s}\t{trade.timestamp_ms}\t"
        f"{copy_array(trade.trade_conditions)}\t{copy_text(trade.source or SOURCE)}\t"
        f"{received}\t{copy_text(trade.category)}\t{trade.pod_index}\t{trade.epoch}\t{trade.seq}\n"
    )


def _value(trade: Trade) -> str:
    return (
        f'{{"symbol":{json_text(trade.symbol)},"price":{trade.price!s},'
        f'"volume":{json_number(trade.volume)},"category":{json_text(trade.category)},'
        f'"timestamp":{trade.timestamp_ms},"source":"finnhub_topgainers",'
        f'"event_time_ms":{trade.timestamp_ms},"schema":{SCHEMA_VERSION}}}'
    )


def _simulated() -> Iterator[Row]:
    for category, symbols in SIMULATED.items():
        for position, symbol in enumerate(symbols.split(), 1):
            yield symbol, category, position


COLUMNS = (
    "symbol", "price", "volume", "timestamp_ms", "trade_conditions", "source", "created_at",
    "category", "pod_index", "epoch", "seq",
)  # fmt: skip

FEED = Feed(
    name="top_gainers",
    title="Trades of the day's top gainers, losers and most traded stocks",
    rank=3,
    topic="finnhub-trades",
    table="finnhub_trades",
    layout=Layout(
        kind=Trade,
        columns=COLUMNS,
        line=_line,
        value=_value,
    ),
    redis=RedisKeys("stocks:topgainers", ttl_s=432_000),
    protocol=finnhub.protocol(SOURCE),
    symbols=SymbolSource(
        # The newest batch: gainers first, by rank. A symbol in two categories keeps the first.
        query="""
            SELECT symbol, category FROM top_gainers
            WHERE batch_id = (SELECT max(batch_id) FROM top_gainers)
              AND category IN ('top_gainers', 'top_losers', 'most_actively_traded')
            ORDER BY array_position(
                    ARRAY['top_gainers', 'top_losers', 'most_actively_traded'], category::text
                ), rank_position NULLS LAST, symbol
        """,
        poll_s=5.0,
        spelling=finnhub.spelling,
        limit=finnhub.SYMBOLS_PER_CONNECTION,
        channel="top_gainers_updated",
        simulated=Fill(
            table="top_gainers",
            insert="""
                INSERT INTO top_gainers (batch_id, last_updated, symbol, category, rank_position)
                VALUES (1, now() AT TIME ZONE 'UTC', %s, %s, %s)
                ON CONFLICT (batch_id, symbol, category) DO NOTHING
            """,
            rows=_simulated,
            source="the list of simulated movers",
        ),
    ),
    simulator="finnhub",
    key_provider=finnhub.PROVIDER,
    calendar="XNYS",
)

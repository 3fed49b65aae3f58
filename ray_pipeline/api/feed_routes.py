"""Routes about what the feeds brought: latest values, history, bars."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from ray_pipeline.api import cursor
from ray_pipeline.api.answers import JSON, BadRequest, NotFound, answer, joined
from ray_pipeline.api.examples import BAR, CURSOR, RECORD, VALUE, shows
from ray_pipeline.api.parameters import (
    After,
    Feed,
    Interval,
    Limit,
    Order,
    Symbol,
    Used,
    symbols_in,
)
from ray_pipeline.api.services import Services, feed_called
from ray_pipeline.api.socket import SYMBOL
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.feeds.records import to_ms
from ray_pipeline.storage.postgres import pages
from ray_pipeline.stream.bars import INTERVALS

router = APIRouter(prefix="/v1/feeds", tags=["feeds"])


async def latest_of_one(request: Request) -> Response:
    """
    Return the latest value of one symbol; `X-Source` says which store had it.

    Not a FastAPI handler: it is asked thousands of times a second, and declared parameters would
    cost more than the answer.
    """
    services: Services = request.app.state.services
    spec = feed_called(request.path_params["feed"])
    symbol = request.path_params["symbol"]
    if not SYMBOL.fullmatch(symbol):
        raise BadRequest("symbol: not a symbol", fix="for example AAPL, KRW-BTC")
    value, source = await services.stores.one(spec, symbol)
    if value is None:
        raise NotFound(f"{spec.name} has no value of {symbol}", fix=f"GET /v1/feeds/{spec.name}")
    return Response(value, headers={"X-Source": source}, media_type=JSON)


@router.get(
    "/{feed}/latest/{symbol}",
    summary="The latest value of one symbol",
    responses=shows(VALUE, 404, 422, 503),
)
async def describe_latest_of_one(
    feed: Feed,  # noqa: ARG001 - only for the document: the route above answers
    symbol: Symbol,  # noqa: ARG001
    request: Request,
) -> Response:
    """Redis is asked first, Postgres where Redis has nothing; `X-Source` says which answered."""
    return await latest_of_one(request)


@router.get("", summary="Every feed", responses=shows({"feeds": [{"name": "sp500"}]}, 503))
async def feeds(services: Used) -> Response:
    """Names, tables and topics of the feeds."""
    prefix = services.settings.kafka.topic_prefix
    rows = [
        {
            "name": spec.name,
            "table": spec.table,
            "topic": prefix + spec.topic,
            "venue": spec.calendar,
            "push": f"/ws/{spec.name}",
        }
        for spec in FEEDS
    ]
    return answer({"feeds": rows})


@router.get(
    "/{feed}/symbols",
    summary="The symbols that have a value",
    responses=shows({"feed": "sp500", "symbols": ["AAPL", "MSFT"]}, 404, 422, 503),
)
async def symbols(feed: Feed, services: Used) -> Response:
    """Every symbol of which a value was ever stored, in order."""
    names, source = await services.stores.symbols(feed)
    found = answer({"feed": feed.name, "symbols": names})
    found.headers["X-Source"] = source
    return found


@router.get(
    "/{feed}/latest",
    summary="The latest values of all symbols, or of some",
    responses=shows({"feed": "sp500", "values": [VALUE]}, 404, 422, 503),
)
async def latest(
    feed: Feed,
    services: Used,
    symbols: Annotated[
        str | None, Query(max_length=8_000, description="Only these: A,B.", examples=["AAPL,MSFT"])
    ] = None,
) -> Response:
    """Values in the order of the symbols; a symbol without a value is left out."""
    names = symbols_in(symbols) if symbols else (await services.stores.symbols(feed))[0]
    found = await services.stores.many(feed, names)
    values = (found.values[name] for name in names if name in found.values)
    reply = joined(f'{{"feed":"{feed.name}","values":[', values)
    reply.headers["X-Source"] = found.source
    return reply


@router.get(
    "/{feed}/history/{symbol}",
    summary="A symbol's records, a page at a time",
    responses=shows({"rows": [RECORD], "next": CURSOR}, 404, 422, 503),
)
async def history(
    feed: Feed,
    symbol: Symbol,
    services: Used,
    after: After = None,
    limit: Limit = 500,
    order: Order = "oldest",
) -> Response:
    """By event time. Give `next` as `after` for the page that follows; null: that was the last."""
    newest_first = order == "newest"
    key: tuple[object, ...] | None = None
    if after is not None:
        time = cursor.moment(after)
        key = (
            cursor.read(after, cursor.RECORDS)
            if time is None
            else pages.time_key(to_ms(time), newest_first=newest_first)
        )
    rows = await services.stores.postgres.read(
        lambda connection: pages.history(
            connection, feed, symbol, after=key, limit=limit, newest_first=newest_first
        )
    )
    full = len(rows) == limit
    following = cursor.write(pages.record_key(feed, rows[-1])) if full else None
    return answer({"feed": feed.name, "symbol": symbol, "rows": rows, "next": following})


@router.get(
    "/{feed}/bars/{symbol}",
    summary="A symbol's bars, a page at a time",
    responses=shows({"rows": [BAR], "next": CURSOR}, 404, 422, 503),
)
async def bars(
    feed: Feed,
    symbol: Symbol,
    services: Used,
    interval: Interval = "1m",
    after: After = None,
    limit: Limit = 500,
    order: Order = "oldest",
) -> Response:
    """Open, high, low, close and volume, by start; a time without a trade has no bar."""
    start = None
    if after is not None:
        start = cursor.moment(after) or cursor.read(after, cursor.TIMES)
    rows = await services.stores.postgres.read(
        lambda connection: pages.bars(
            connection,
            feed,
            symbol,
            interval_s=INTERVALS[interval],
            after=start,
            limit=limit,
            newest_first=order == "newest",
        )
    )
    following = cursor.write(rows[-1]["start_at"]) if len(rows) == limit else None
    head = {"feed": feed.name, "symbol": symbol, "interval": interval}
    return answer(head | {"rows": rows, "next": following})

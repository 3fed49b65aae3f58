"""Routes about collected data: latest values, history, bars."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from ray_pipeline.api import cursor
from ray_pipeline.api.answers import JSON, BadRequest, NotFound, answer, joined
from ray_pipeline.api.examples import BAR, CURSOR, RECORD, VALUE, shows
from ray_pipeline.api.parameters import Feed, Interval, Paging, Symbol, Used, symbols_in
from ray_pipeline.api.services import Services, feed_named
from ray_pipeline.api.socket import SYMBOL
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.storage.postgres import pages
from ray_pipeline.stream.bars import INTERVALS

router = APIRouter(prefix="/v1/feeds", tags=["feeds"])


async def latest_of_one(request: Request) -> Response:
    """
    Return the latest value of one symbol; the header `X-Source` names the store that had it.

    This is the busiest route. It is not a FastAPI handler, because the validation of declared
    parameters costs more than the response.
    """
    services: Services = request.app.state.services
    spec = feed_named(request.path_params["feed"])
    symbol = request.path_params["symbol"]
    if not SYMBOL.fullmatch(symbol):
        raise BadRequest("symbol: not a symbol", fix="for example AAPL, KRW-BTC")
    value, source = await services.stores.value_of(spec, symbol)
    if value is None:
        raise NotFound(f"{spec.name} has no value of {symbol}", fix=f"GET /v1/feeds/{spec.name}")
    return Response(value, headers={"X-Source": source}, media_type=JSON)


@router.get(
    "/{feed}/latest/{symbol}",
    summary="The latest value of one symbol",
    responses=shows(VALUE, 404, 422, 503),
)
async def describe_latest_of_one(
    feed: Feed,  # noqa: ARG001 - only for the OpenAPI document: the route above is matched first
    symbol: Symbol,  # noqa: ARG001
    request: Request,
) -> Response:
    """Reads Redis, then Postgres if Redis has no value; the header `X-Source` names the store."""
    return await latest_of_one(request)


@router.get("", summary="Every feed", responses=shows({"feeds": [{"name": "sp500"}]}, 503))
async def feeds(services: Used) -> Response:
    """The names, tables and topics of the feeds."""
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
    """Every symbol that ever had a value, in order."""
    names, source = await services.stores.symbols(feed)
    response = answer({"feed": feed.name, "symbols": names})
    response.headers["X-Source"] = source
    return response


@router.get(
    "/{feed}/latest",
    summary="The latest values of all or of selected symbols",
    responses=shows({"feed": "sp500", "values": [VALUE]}, 404, 422, 503),
)
async def latest(
    feed: Feed,
    services: Used,
    symbols: Annotated[
        str | None,
        Query(max_length=8_000, description="Only these symbols: A,B.", examples=["AAPL,MSFT"]),
    ] = None,
) -> Response:
    """Values in the order of the symbols; a symbol without a value is left out."""
    names = symbols_in(symbols) if symbols else (await services.stores.symbols(feed))[0]
    latest_values = await services.stores.many(feed, names)
    by_symbol = latest_values.values
    texts = (by_symbol[name] for name in names if name in by_symbol)
    response = joined(f'{{"feed":"{feed.name}","values":[', texts)
    response.headers["X-Source"] = latest_values.source
    return response


@router.get(
    "/{feed}/history/{symbol}",
    summary="A symbol's records, a page at a time",
    responses=shows({"rows": [RECORD], "next": CURSOR}, 404, 422, 503),
)
async def history(feed: Feed, symbol: Symbol, services: Used, paging: Paging) -> Response:
    """By event time. Pass `next` as `after` to get the next page; null after the last page."""
    request = paging.request(symbol, cursor.RECORDS)
    page = await services.stores.postgres.read(pages.history, feed, request)
    return _page({"feed": feed.name, "symbol": symbol}, page)


@router.get(
    "/{feed}/bars/{symbol}",
    summary="A symbol's bars, a page at a time",
    responses=shows({"rows": [BAR], "next": CURSOR}, 404, 422, 503),
)
async def bars(
    feed: Feed, symbol: Symbol, services: Used, paging: Paging, interval: Interval = "1m"
) -> Response:
    """Open, high, low, close and volume by start time; an interval without a trade has no bar."""
    request, interval_s = paging.request(symbol, cursor.TIMES), INTERVALS[interval]
    page = await services.stores.postgres.read(pages.bars, feed, request, interval_s=interval_s)
    return _page({"feed": feed.name, "symbol": symbol, "interval": interval}, page)


def _page(head: dict[str, object], page: pages.Page) -> Response:
    next_page = None if page.next is None else cursor.write(page.next)
    return answer(head | {"rows": page.rows, "next": next_page})

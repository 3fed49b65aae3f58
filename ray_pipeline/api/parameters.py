"""The parameters of the routes, and their validation."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Depends, Path, Query, Request

from ray_pipeline.api.answers import BadRequest
from ray_pipeline.api.cursor import MAX_CHARACTERS, moment, read
from ray_pipeline.api.services import Services, feed_named
from ray_pipeline.api.socket import SYMBOL
from ray_pipeline.feeds.feed import FeedSpec
from ray_pipeline.storage.postgres.pages import PageRequest

PATTERN = f"^{SYMBOL.pattern}$"
MAX_SYMBOLS = 1_000


def services_of(request: Request) -> Services:
    """Return the services of the application."""
    services: Services = request.app.state.services
    return services


def _feed(feed: Annotated[str, Path(examples=["sp500"])]) -> FeedSpec:
    return feed_named(feed)


def _maybe_feed(
    feed: Annotated[str | None, Query(description="Only this feed.", examples=["sp500"])] = None,
) -> str | None:
    return None if feed is None else feed_named(feed).name


Used = Annotated[Services, Depends(services_of)]
Feed = Annotated[FeedSpec, Depends(_feed)]
MaybeFeed = Annotated[str | None, Depends(_maybe_feed)]
Symbol = Annotated[str, Path(pattern=PATTERN, examples=["AAPL"])]
After = Annotated[
    str | None,
    Query(
        max_length=MAX_CHARACTERS,
        description="The `next` of an earlier page, or an ISO 8601 time; default: the first page.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=5_000, description="Maximum number of rows.")]
Order = Annotated[Literal["oldest", "newest"], Query(description="Which row comes first.")]


@dataclass(frozen=True, slots=True)
class PagingParameters:
    """Which page of a symbol's records or bars."""

    after: After = None
    limit: Limit = 500
    order: Order = "oldest"

    def request(self, symbol: str, keys: msgspec.json.Decoder[Any]) -> PageRequest:
        """
        Return the request for this page; `keys` decodes the `next` of an earlier page.

        Raises:
            BadRequest: If `after` is neither a time nor such a key.
        """
        after: object | None = None
        if self.after is not None:
            after = moment(self.after) or read(self.after, keys)
        return PageRequest(symbol, after, self.limit, self.order == "newest")


Paging = Annotated[PagingParameters, Depends()]
Interval = Annotated[Literal["1s", "1m", "5m", "1h"], Query()]
Before = Annotated[
    int | None,
    Query(alias="after", ge=0, le=2**63 - 1, description="The `next` of an earlier page."),
]


def symbols_in(text: str) -> list[str]:
    """
    Return the symbols of a comma-separated list, each once.

    Raises:
        BadRequest: If one is not a symbol, or there are too many.
    """
    symbols = list(dict.fromkeys(text.split(",")))
    if len(symbols) > MAX_SYMBOLS:
        raise BadRequest(f"symbols: more than {MAX_SYMBOLS}", fix="send several requests")
    for symbol in symbols:
        if not SYMBOL.fullmatch(symbol):
            raise BadRequest(
                f"symbols: not a symbol: {symbol[:40]!r}", fix="for example symbols=AAPL,MSFT"
            )
    return symbols

"""What a client may give, and how it is checked."""

from typing import Annotated, Literal

from fastapi import Depends, Path, Query, Request

from ray_pipeline.api.answers import BadRequest
from ray_pipeline.api.cursor import LONGEST
from ray_pipeline.api.services import Services, feed_called
from ray_pipeline.api.socket import SYMBOL
from ray_pipeline.feeds import feed as feed_values

PATTERN = f"^{SYMBOL.pattern}$"
MOST_SYMBOLS = 1_000


def services_of(request: Request) -> Services:
    """Return the services of the application."""
    found: Services = request.app.state.services
    return found


def _feed(feed: Annotated[str, Path(examples=["sp500"])]) -> feed_values.Feed:
    return feed_called(feed)


def _maybe_feed(
    feed: Annotated[str | None, Query(description="Only this feed's.", examples=["sp500"])] = None,
) -> str | None:
    return None if feed is None else feed_called(feed).name


Used = Annotated[Services, Depends(services_of)]
Feed = Annotated[feed_values.Feed, Depends(_feed)]
MaybeFeed = Annotated[str | None, Depends(_maybe_feed)]
Symbol = Annotated[str, Path(pattern=PATTERN, examples=["AAPL"])]
After = Annotated[
    str | None,
    Query(
        max_length=LONGEST,
        description="The `next` of an earlier page, or an ISO 8601 time; without it, from the end "
        "that `order` names first.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=5_000, description="Most rows of a page.")]
Order = Annotated[Literal["oldest", "newest"], Query(description="Which comes first.")]
Interval = Annotated[Literal["1s", "1m", "5m", "1h"], Query()]
Before = Annotated[
    int | None, Query(alias="after", ge=0, le=2**63 - 1, description="`next` of an earlier page.")
]


def symbols_in(text: str) -> list[str]:
    """
    Return the symbols of a list with commas, each once.

    Raises:
        BadRequest: If one is no symbol, or there are too many.
    """
    symbols = list(dict.fromkeys(text.split(",")))
    if len(symbols) > MOST_SYMBOLS:
        raise BadRequest(f"symbols: more than {MOST_SYMBOLS}", fix="ask in several requests")
    for symbol in symbols:
        if not SYMBOL.fullmatch(symbol):
            raise BadRequest(
                f"symbols: not a symbol: {symbol[:40]!r}", fix="for example symbols=AAPL,MSFT"
            )
    return symbols

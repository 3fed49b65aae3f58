"""Bithumb's REST API: tickers of many markets at once, and the list of markets."""

import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import aiohttp
import msgspec

from ray_pipeline.errors import FeedRefused, FeedUnavailable, RedirectRefused
from ray_pipeline.feeds.bithumb import MARKETS_PER_REQUEST, RawTicker, Refusal, parse_answer
from ray_pipeline.storage.websocket import retry_after_s
from ray_pipeline.transport.redirects import get, moved

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
TOO_MANY_REQUESTS = 429
TOO_LONG = 414
BAD_REQUEST = 400
NOT_FOUND = 404
SERVER_ERROR = 500
# One bad code fails the whole call, and so does one too many: halves tell which it was.
DIVISIBLE = frozenset({BAD_REQUEST, NOT_FOUND, TOO_LONG})


class Market(msgspec.Struct, frozen=True):
    """One market as Bithumb lists it."""

    market: str
    korean_name: str
    english_name: str
    market_warning: str | None = None


class BadCodeError(Exception):
    """The call failed because of one of its codes."""


class BithumbRest:
    """Asks for tickers and markets. A code that Bithumb does not know is left out from then on."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._unknown: set[str] = set()

    @property
    def unknown(self) -> frozenset[str]:
        """Codes that were refused."""
        return frozenset(self._unknown)

    async def markets(self) -> list[Market]:
        """
        Return every market there is.

        Raises:
            FeedRefused: If Bithumb answered with an error, or asked for a pause.
            FeedUnavailable: If it cannot be reached.
        """
        async with _client() as client:
            body = await self._get(client, "/v1/market/all", {"isDetails": "true"})
        try:
            return msgspec.json.decode(body, type=list[Market])
        except msgspec.DecodeError as error:
            raise FeedRefused(f"Bithumb's list of markets is not one: {error}") from error

    async def tickers(self, markets: Sequence[str]) -> AsyncIterator[Sequence[RawTicker | Refusal]]:
        """
        Yield the tickers of the markets, one answer after the other.

        Raises:
            FeedRefused: If Bithumb asked for a pause. What was yielded is good.
            FeedUnavailable: If it cannot be reached, likewise.
        """
        known = [market for market in markets if market not in self._unknown]
        async with _client() as client:
            for start in range(0, len(known), MARKETS_PER_REQUEST):
                chunk = known[start : start + MARKETS_PER_REQUEST]
                async for events in self._tickers(client, chunk):
                    yield events

    async def _tickers(
        self, client: aiohttp.ClientSession, markets: Sequence[str]
    ) -> AsyncIterator[Sequence[RawTicker | Refusal]]:
        """Ask for all; where one of them is bad, for each half."""
        waiting = [markets]
        while waiting:
            part = waiting.pop()
            try:
                yield await self._ask(client, part)
            except BadCodeError as error:
                if len(part) == 1:
                    self._unknown.update(part)
                    log.warning("Bithumb does not know %s, it is left out: %s", part[0], error)
                else:
                    half = len(part) // 2
                    waiting += [part[half:], part[:half]]

    async def _ask(
        self, client: aiohttp.ClientSession, markets: Sequence[str]
    ) -> Sequence[RawTicker | Refusal]:
        body = await self._get(client, "/v1/ticker", {"markets": ",".join(markets)})
        try:
            return list(parse_answer(body))
        except FeedRefused as error:
            raise BadCodeError(str(error)) from error

    async def _get(self, client: aiohttp.ClientSession, path: str, params: dict[str, str]) -> bytes:
        try:
            async with get(
                client,
                self._base_url + path,
                server="Bithumb's REST API",
                fix=moved("bithumb"),
                params=params,
            ) as answer:
                body = await answer.read()
        except RedirectRefused as error:
            raise FeedRefused(error.args[0], fix=error.fix) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            name = type(error).__name__
            raise FeedUnavailable(f"Bithumb's REST API: {error or name}") from error
        if answer.status == TOO_MANY_REQUESTS:
            header = answer.headers.get("Retry-After")
            raise FeedRefused(
                "Bithumb's REST API: too many requests",
                retry_after_s=retry_after_s(header, now=datetime.now(UTC)),
            )
        if answer.status in DIVISIBLE:
            raise BadCodeError(f"HTTP {answer.status} {body[:200].decode('utf-8', 'replace')}")
        if answer.status >= BAD_REQUEST:
            raise FeedUnavailable(f"Bithumb's REST API answered HTTP {answer.status}")
        return body


def _client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=True)

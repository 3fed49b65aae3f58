"""The REST API of a venue: the newest records of many symbols, and lists of symbols."""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime

import aiohttp

from ray_pipeline.errors import FeedRefused, FeedUnavailable, RedirectRefused
from ray_pipeline.feeds.protocol import VenueProtocol
from ray_pipeline.feeds.symbol_source import RestListing, Row
from ray_pipeline.storage.redirects import get, moved
from ray_pipeline.storage.websocket import retry_after_s

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
TOO_MANY_REQUESTS = 429
TOO_LONG = 414
BAD_REQUEST = 400
NOT_FOUND = 404
# One unknown symbol fails the whole request, as does one symbol too many.
DIVISIBLE = frozenset({BAD_REQUEST, NOT_FOUND, TOO_LONG})


class BadSymbolError(Exception):
    """The request failed because of one of its symbols."""


class VenueRest:
    """Requests records and lists. It omits a symbol after the venue has refused it."""

    def __init__(self, protocol: VenueProtocol[object], base_url: str | None = None) -> None:
        self._protocol = protocol
        self._server = f"{protocol.title}'s REST API"
        self._base_url = (base_url or protocol.rest_url).rstrip("/")
        self._unknown: set[str] = set()

    @property
    def unknown(self) -> frozenset[str]:
        """The symbols that the venue has refused."""
        return frozenset(self._unknown)

    async def listing(self, listing: RestListing) -> list[Row]:
        """
        Return the rows of a list.

        Raises:
            FeedRefused: If the venue answers with an error, or requests a pause.
            FeedUnavailable: If it cannot be reached.
        """
        async with _client() as client:
            try:
                body = await self._get(client, listing.path, listing.params)
            except BadSymbolError as error:
                raise FeedRefused(f"{self._server}: {error}") from error
        return list(listing.rows(body))

    async def records(self, symbols: Sequence[str]) -> AsyncIterator[Sequence[object]]:
        """
        Yield the contents of each answer: records as the venue writes them, and refusals.

        Raises:
            FeedRefused: If the venue requests a pause. The answers up to then are valid.
            FeedUnavailable: If it cannot be reached. The same holds.
        """
        poll = self._protocol.poll
        assert poll is not None, "the venue has no endpoint for records"
        accepted = [symbol for symbol in symbols if symbol not in self._unknown]
        size = poll.symbols_per_request
        async with _client() as client:
            for start in range(0, len(accepted), size):
                async for events in self._records(client, accepted[start : start + size]):
                    yield events

    async def _records(
        self, client: aiohttp.ClientSession, symbols: Sequence[str]
    ) -> AsyncIterator[Sequence[object]]:
        """
        Request all symbols. If the venue refuses one of them, request each half.

        The answer does not name the bad symbol. Halving finds it with about 2 log2(n) requests,
        where one request per symbol would take n.
        """
        waiting = [symbols]
        while waiting:
            part = waiting.pop()
            try:
                yield await self._request(client, part)
            except BadSymbolError as error:
                if len(part) == 1:
                    self._unknown.update(part)
                    log.warning("%s refuses %s, it is omitted: %s", self._server, part[0], error)
                else:
                    half = len(part) // 2
                    waiting += [part[half:], part[:half]]

    async def _request(
        self, client: aiohttp.ClientSession, symbols: Sequence[str]
    ) -> Sequence[object]:
        poll = self._protocol.poll
        assert poll is not None, "`records` checked it"
        body = await self._get(client, poll.path, {poll.parameter: ",".join(symbols)})
        try:
            return list(poll.parse(body))
        except FeedRefused as error:
            raise BadSymbolError(str(error)) from error

    async def _get(
        self, client: aiohttp.ClientSession, path: str, params: Mapping[str, str]
    ) -> bytes:
        try:
            async with get(
                client,
                self._base_url + path,
                server=self._server,
                fix=moved(self._protocol.venue),
                params=params,
            ) as answer:
                body = await answer.read()
        except RedirectRefused as error:
            raise FeedRefused(error.args[0], fix=error.fix) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise FeedUnavailable(f"{self._server}: {error or type(error).__name__}") from error
        if answer.status == TOO_MANY_REQUESTS:
            header = answer.headers.get("Retry-After")
            raise FeedRefused(
                f"{self._server}: too many requests",
                retry_after_s=retry_after_s(header, now=datetime.now(UTC)),
            )
        if answer.status in DIVISIBLE:
            raise BadSymbolError(f"HTTP {answer.status} {body[:200].decode('utf-8', 'replace')}")
        if answer.status >= BAD_REQUEST:
            raise FeedUnavailable(f"{self._server} answered HTTP {answer.status}")
        return body


def _client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=True)

"""The REST API of a venue: the newest records of many symbols, and lists of symbols."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Protocol

import aiohttp

from ray_pipeline.errors import FeedRefused, FeedUnavailable, RedirectRefused, SymbolRefused
from ray_pipeline.feeds.protocol import RestPoll, VenueProtocol
from ray_pipeline.feeds.symbol_source import RestListing, Row
from ray_pipeline.foreign_text import foreign_text
from ray_pipeline.stream.exclusions import Exclusions
from ray_pipeline.transport.counted import never_repeat
from ray_pipeline.transport.redirects import get, moved
from ray_pipeline.transport.retry_after import LONGEST_STREAM_PAUSE_S, parse_retry_after

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
LARGEST_BYTES = 8 * 2**20  # of an answer; the largest recorded one has 0.3 MB
REFUSING = frozenset({401, 403, 418, 429, 451})  # the caller is refused, not the request
TOO_LONG = 414
FIRST_ERROR = 400
DIVISIBLE = frozenset({400, 404, TOO_LONG})
DEFAULT_PAUSE_S = 60.0  # after a refusal without Retry-After
# More refusals in a row than halving one request takes: the venue may refuse everything.
MOST_REFUSALS = 10


class Permits(Protocol):
    """The quota of the venue; see `storage.venue_permits.VenuePermits`."""

    def next_call(self) -> AbstractAsyncContextManager[None]:
        """Wait until one call is permitted, and make it inside the block. See `NextCall`."""

    async def cool_down(self, wait_s: float, reason: str) -> None:
        """Permit no call for a while."""


class VenueRest:
    """
    Requests records and lists, one call at a time, each with a permit.

    It omits a symbol that the venue refuses, for a bounded time. Only an answer that names the
    request as the problem counts as a refusal of a symbol, and only while the venue accepts another
    symbol: an outage that looks like a refusal excludes no symbol.
    """

    def __init__(
        self,
        protocol: VenueProtocol[object],
        base_url: str | None,
        permits: Permits,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._protocol = protocol
        self._server = f"{protocol.title}'s REST API"
        self._base_url = (base_url or protocol.rest_url).rstrip("/")
        self._permits = permits
        self._now = now
        self._turn = asyncio.Lock()
        self._refusals = 0  # in a row
        self._accepted: str | None = None  # a symbol of the newest answer with data
        self.exclusions = Exclusions()

    async def listing(self, listing: RestListing) -> list[Row]:
        """
        Return the rows of a list.

        Raises:
            FeedRefused: If the venue answers with an error, or requests a pause.
            FeedUnavailable: If it cannot be reached, or no call is permitted.
        """
        async with _client() as client:
            status, body = await self._get(client, listing.path, listing.params)
        if status in DIVISIBLE:
            raise FeedRefused(f"{self._server} answered HTTP {status} {_start(body)}")
        return list(listing.rows(body))

    async def records(self, symbols: Sequence[str]) -> AsyncIterator[Sequence[object]]:
        """
        Yield the contents of each answer: records as the venue writes them, and refusals.

        Raises:
            FeedRefused: If the venue requests a pause. The answers up to then are valid.
            FeedUnavailable: If it cannot be reached, refuses every symbol, or no call is permitted.
                The same holds.
        """
        poll = self._protocol.poll
        assert poll is not None, "the venue has no endpoint for records"
        accepted = self.exclusions.regular(symbols)
        size = poll.symbols_per_request
        parts = [accepted[start : start + size] for start in range(0, len(accepted), size)]
        # Alone, so that a symbol that is still refused costs one call and no halving.
        parts += [[symbol] for symbol in self.exclusions.due(symbols, now=self._now())]
        suspects: list[str] = []
        self._refusals = 0
        async with _client() as client:
            for part in parts:
                async for events in self._divided(client, poll, part, suspects):
                    yield events
            for symbol in suspects:
                yield await self._judged(client, poll, symbol)

    async def _divided(
        self,
        client: aiohttp.ClientSession,
        poll: RestPoll[object],
        symbols: Sequence[str],
        suspects: list[str],
    ) -> AsyncIterator[Sequence[object]]:
        """
        Request all symbols. If the venue refuses one of them, request each half.

        The answer does not name the bad symbol. Halving finds it with about 2 log2(n) requests,
        where one request per symbol would take n. A symbol that is refused alone is a suspect.
        """
        waiting = [symbols]
        while waiting:
            part = waiting.pop()
            try:
                yield await self._request(client, poll, part)
            except SymbolRefused as error:
                await self._check_venue(client, poll, error)
                if len(part) == 1:
                    suspects += part
                else:
                    half = len(part) // 2
                    waiting += [part[half:], part[:half]]

    async def _check_venue(
        self, client: aiohttp.ClientSession, poll: RestPoll[object], error: SymbolRefused
    ) -> None:
        """Raise FeedUnavailable if the venue refuses everything; halving would take 2 n calls."""
        self._refusals += 1
        if self._refusals >= MOST_REFUSALS:
            await self._control(client, poll, error)

    async def _control(
        self, client: aiohttp.ClientSession, poll: RestPoll[object], error: SymbolRefused
    ) -> None:
        """
        Request a symbol that the venue has accepted.

        Raises:
            FeedUnavailable: If it is refused too, or if no symbol was accepted yet.
        """
        try:
            if self._accepted is not None:
                await self._request(client, poll, [self._accepted])
                return
        except SymbolRefused:
            pass
        raise FeedUnavailable(
            f"{self._server} refuses every symbol, which is taken for an outage: {error}"
        )

    async def _judged(
        self, client: aiohttp.ClientSession, poll: RestPoll[object], symbol: str
    ) -> Sequence[object]:
        """
        Request a suspect again and return the contents of the answer.

        Exclude it if it is refused again while another symbol is accepted.

        An outage may have begun or ended between the first refusal and now. The control after the
        second refusal proves that the venue answers at this moment.
        """
        try:
            return await self._request(client, poll, [symbol])
        except SymbolRefused as error:
            await self._control(client, poll, error)
            exclusion = self.exclusions.exclude(symbol, str(error), now=self._now())
            log.warning(
                "%s refuses %s; it is omitted until %s: %s",
                self._server, symbol, exclusion.until, error,
            )  # fmt: skip
            return ()

    async def _request(
        self, client: aiohttp.ClientSession, poll: RestPoll[object], symbols: Sequence[str]
    ) -> Sequence[object]:
        """
        Return the contents of one answer.

        Raises:
            SymbolRefused: If the venue refuses the request because of its symbols.
        """
        status, body = await self._get(client, poll.path, {poll.parameter: ",".join(symbols)})
        if status == TOO_LONG:
            if len(symbols) == 1:
                raise FeedUnavailable(f"{self._server} answered HTTP {status}")
            raise SymbolRefused(f"HTTP {status}")
        # A 404 of a gateway says nothing about a symbol: `parse` decides by the body.
        events = list(poll.parse(body))
        if status in DIVISIBLE:
            raise FeedUnavailable(f"{self._server} answered HTTP {status}")
        if events:  # an empty answer proves nothing
            self._refusals, self._accepted = 0, symbols[0]
            self.exclusions.readmit(symbols)
        return events

    async def _get(
        self, client: aiohttp.ClientSession, path: str, params: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """Return the status and the body of an answer with data, or with a status of DIVISIBLE."""
        async with self._turn:
            try:
                async with get(
                    client,
                    self._base_url + path,
                    server=self._server,
                    fix=moved(self._protocol.venue),
                    params=params,
                    next_call=self._permits.next_call,
                ) as answer:
                    body = await _body(answer)
            except RedirectRefused as error:
                raise FeedRefused(error.args[0], fix=error.fix) from None
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                text = foreign_text(str(error)) or type(error).__name__
                raise FeedUnavailable(f"{self._server}: {text}") from error
            failed = answer.status >= FIRST_ERROR
            if answer.status in REFUSING or (failed and "Retry-After" in answer.headers):
                raise await self._refused(answer)
        if failed and answer.status not in DIVISIBLE:
            raise FeedUnavailable(f"{self._server} answered HTTP {answer.status}")
        return answer.status, body

    async def _refused(self, answer: aiohttp.ClientResponse) -> FeedRefused:
        """Return the error of a refused call, after all callers of the venue are held back."""
        pause = parse_retry_after(
            answer.headers.getall("Retry-After", []),
            now=self._now(),
            longest_s=LONGEST_STREAM_PAUSE_S,
        )
        wait_s = pause.wait_s if pause else DEFAULT_PAUSE_S
        requested = str(pause) if pause else f"waiting {wait_s:g} s"
        text = f"{self._server} answered HTTP {answer.status}; {requested}"
        await self._permits.cool_down(wait_s, text)
        return FeedRefused(text, retry_after_s=wait_s)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """
    Read the body.

    Raises:
        ValueError: If it is larger than LARGEST_BYTES. The connection is closed, not read to its
            end.
    """
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > LARGEST_BYTES:
            raise ValueError(f"the answer has more than {LARGEST_BYTES // 2**20} MiB")
    return bytes(body)


def _start(body: bytes) -> str:
    return foreign_text(body[:300].decode("utf-8", "replace"))


def _client() -> aiohttp.ClientSession:
    # As in `transport.http`: no request is repeated without a permit.
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        trust_env=True,
        connector=aiohttp.TCPConnector(force_close=True),
        middlewares=(never_repeat,),
    )

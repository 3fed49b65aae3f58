"""
Yahoo Finance: fundamentals, charts, ownership and the calendar of earnings.

The site requires a cookie, a matching crumb and a browser's TLS. yfinance knows how to get them, so
calls go through yfinance's session, but the answers are Yahoo's own. yfinance has its base URLs in
constants of many modules; a simulator needs none of this and is called by plain HTTP.
"""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from curl_cffi.requests import Response, Session
from curl_cffi.requests.exceptions import RequestException

from ray_pipeline.errors import RedirectRefused
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import HOUR, SECOND, Quota, sliding
from ray_pipeline.providers.refusals import (
    Refusal,
    Verdict,
    by_status_or_broken,
    json_or_none,
    one_line,
)
from ray_pipeline.transport.answer import Answer, decoded
from ray_pipeline.transport.client import ProviderClient, ProviderServer
from ray_pipeline.transport.counted import (
    SINGLE_REQUEST,
    NextCall,
    curl_timeouts,
    uncounted,
)
from ray_pipeline.transport.html_table import table
from ray_pipeline.transport.http import TIMEOUT_S, headers_of, now, open_http, unavailable
from ray_pipeline.transport.redirects import MOST_REDIRECTS, REDIRECTS, moved, too_many_redirects

T = TypeVar("T")

NAME = "yahoo"
TITLE = "Yahoo Finance"
PAGES_URL = "https://finance.yahoo.com"
CALENDAR = "/calendar/earnings"
CALENDAR_COLUMNS = ("Earnings Date", "EPS Estimate", "Reported EPS")


def classify(answer: Answer) -> Verdict | None:
    """Recognise Yahoo's refusals: an invalid crumb, and errors inside the envelope."""
    body = json_or_none(answer)
    for envelope in body.values() if isinstance(body, dict) else ():
        error = envelope.get("error") if isinstance(envelope, dict) else None
        if isinstance(error, dict):
            message = one_line(f"{error.get('code')}: {error.get('description')}")
            return Verdict(_envelope_refusal(message.lower(), answer.status), message)
    return by_status_or_broken(answer)


def _envelope_refusal(message: str, status: int) -> Refusal:
    if "crumb" in message or "unauthorized" in message:
        return Refusal.RATE  # the next call gets a new crumb
    return Refusal.NOT_FOUND if "not found" in message or status == 404 else Refusal.REQUEST


@asynccontextmanager
async def open_client(
    server: ProviderServer, base_url: str | None
) -> AsyncIterator[ProviderClient]:
    """Open a client of the site, or of a simulator if there is a base URL."""
    if base_url is None:
        yield YahooClient(SiteClient(server))
        return
    async with open_http(server, base_url) as http:
        yield YahooClient(http)


class YahooClient:
    """
    Returns every answer as JSON.

    The earnings calendar is a page: its table is returned in an envelope like Yahoo's others.
    """

    def __init__(self, client: ProviderClient) -> None:
        """Wrap the client that makes the calls."""
        self._client = client

    async def fetch(
        self,
        path: str,
        params: Mapping[str, str],
        *,
        key: str,
        largest_bytes: int,
        next_call: NextCall = uncounted,
    ) -> Answer:
        """Make a request; see `ProviderClient.fetch`."""
        answer = await self._client.fetch(
            path, params, key=key, largest_bytes=largest_bytes, next_call=next_call
        )
        is_page = path == CALENDAR and answer.status < 400
        return _calendar(answer) if is_page else answer


class SiteClient:
    """Calls the site through yfinance. Getting a cookie and a crumb are further calls."""

    def __init__(self, server: ProviderServer) -> None:
        """Take Yahoo's server."""
        self._server = server

    async def fetch(
        self,
        path: str,
        params: Mapping[str, str],
        *,
        key: str,  # noqa: ARG002 - Yahoo has no keys
        largest_bytes: int,  # noqa: ARG002 - yfinance reads a body whole
        next_call: NextCall = uncounted,
    ) -> Answer:
        """Make a request; see `ProviderClient.fetch`. Redirects stay on Yahoo's hosts."""
        block = functools.partial(_in_thread, next_call, asyncio.get_running_loop())
        return await asyncio.to_thread(self._call, path, dict(params), block)

    def _call(
        self, path: str, params: dict[str, str], block: Callable[[], AbstractContextManager[None]]
    ) -> Answer:
        # yfinance loads pandas: 60 MB that the processes of other jobs do not need.
        from yfinance.data import YfData  # type: ignore[import-untyped]  # noqa: PLC0415
        from yfinance.exceptions import (  # type: ignore[import-untyped]  # noqa: PLC0415
            YFException,
            YFRateLimitError,
        )

        # One session, with its cookies, serves all threads; each thread has a context of its own.
        _BLOCK.set(block)
        base_url = PAGES_URL if path == CALENDAR else self._server.base_url
        try:
            response = YfData(session=_session()).get(
                base_url + path, params=params, timeout=TIMEOUT_S
            )
        except YFRateLimitError as error:
            return Answer(429, {}, str(error), now())
        except (RequestException, YFException, OSError) as error:
            raise unavailable(self._server, error) from None
        headers = headers_of(response.headers.items())
        text = decoded(response.content, response.charset_encoding)
        return Answer(int(response.status_code), headers, text, now())


class YahooSession(Session[Response]):
    """
    A session of curl_cffi that counts each request, and follows redirects to Yahoo's hosts only.

    Yahoo needs several: one host sets the cookie, another requests consent, a third has the data.
    """

    def request(self, method: Any, url: str, *args: Any, **kwargs: Any) -> Response:
        """Make a request, and follow its redirects."""
        kwargs["allow_redirects"] = False
        for _ in range(MOST_REDIRECTS + 1):
            with _BLOCK.get()(), curl_timeouts():
                response = super().request(method, url, *args, **kwargs)
            location = response.headers.get("Location")
            if response.status_code not in REDIRECTS or not location:
                return response
            url = yahoo_url(url, location)
            kwargs.pop("params", None)
            if method != "GET":
                method, args = "GET", ()
                kwargs.pop("data", None)
                kwargs.pop("json", None)
        raise too_many_redirects(TITLE, fix=moved(NAME))


def yahoo_url(url: str, location: str) -> str:
    """
    Return the target of a redirect.

    Raises:
        RedirectRefused: If the target is not a host of Yahoo, or is not encrypted.
    """
    target = urlsplit(urljoin(url, location))
    host = target.hostname or ""
    if target.scheme == "https" and (host == "yahoo.com" or host.endswith(".yahoo.com")):
        return target.geturl()
    raise RedirectRefused(
        f"{TITLE} redirects to {target.scheme}://{host}, which is not followed", fix=moved(NAME)
    )


@functools.cache
def _session() -> YahooSession:
    return YahooSession(impersonate="chrome", curl_options=SINGLE_REQUEST)


# Opened around each request of the current thread.
_BLOCK: ContextVar[Callable[[], AbstractContextManager[None]]] = ContextVar(
    "block", default=nullcontext
)


@contextmanager
def _in_thread(next_call: NextCall, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Open `next_call` in its event loop, and wait for it in this thread."""
    call = next_call()
    asyncio.run_coroutine_threadsafe(_coroutine(call.__aenter__()), loop).result()
    try:
        yield
    except BaseException as error:
        left = call.__aexit__(type(error), error, error.__traceback__)
        asyncio.run_coroutine_threadsafe(_coroutine(left), loop).result()
        raise
    left = call.__aexit__(None, None, None)
    asyncio.run_coroutine_threadsafe(_coroutine(left), loop).result()


async def _coroutine(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _calendar(answer: Answer) -> Answer:
    """Return the page's table as JSON; a page without the table is an error, not an empty list."""
    rows = table(answer.text, CALENDAR_COLUMNS)
    envelope: dict[str, object] = {"result": rows, "error": None}
    if rows is None:
        envelope["error"] = {
            "code": "Unexpected page",
            "description": "the earnings calendar has no table of earnings",
        }
    body = json.dumps({"earningsCalendar": envelope})
    return Answer(answer.status, answer.headers, body, answer.received_at)


PROVIDER = Provider(
    NAME,
    TITLE,
    "https://query2.finance.yahoo.com",
    Quota((sliding(2, SECOND), sliding(2_000, HOUR))),
    classify=classify,
    needs_key=False,
    open_client=open_client,
    free_plan="public, without a promise",
)

"""
Calls of Yahoo Finance.

The site wants a cookie, a crumb that fits it and a browser's TLS; yfinance knows how to get them,
so the site is called through yfinance's session, but the answers are Yahoo's own. yfinance has its
base URLs in constants of many modules: a simulator is called by plain HTTP instead, where none of
this is needed.
"""

import asyncio
import functools
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from curl_cffi.requests import Response, Session
from curl_cffi.requests.exceptions import RequestException

from ray_pipeline.errors import ProviderUnavailable, RedirectRefused
from ray_pipeline.jobs._html import table
from ray_pipeline.jobs.spec import Request
from ray_pipeline.providers.refusals import Answer
from ray_pipeline.providers.yahoo import PROVIDER as YAHOO
from ray_pipeline.storage.redirects import MOST_REDIRECTS, REDIRECTS, get, moved, too_many_redirects

CALENDAR = "/calendar/earnings"
CALENDAR_COLUMNS = ("Earnings Date", "EPS Estimate", "Reported EPS")
PAGES_URL = "https://finance.yahoo.com"


async def fetch_yahoo(request: Request, *, base_url: str | None, timeout_s: float) -> Answer:
    """
    Make one call and return the answer, whatever its status.

    The earnings calendar is a page: its table comes back as JSON, in an envelope as Yahoo's others.

    Args:
        request: What to ask.
        base_url: Of a simulator; None for the site.
        timeout_s: For the call; getting a new cookie and crumb may take as long again.

    Raises:
        ProviderUnavailable: If there is no answer in time.
        RedirectRefused: If Yahoo redirects to a host that is not Yahoo's.
    """
    if base_url is None:
        answer = await asyncio.to_thread(_call_site, request, timeout_s)
    else:
        answer = await _call_simulator(request, base_url.rstrip("/"), timeout_s)
    if request.path == CALENDAR and answer.status < 400:
        return _calendar(answer)
    return answer


def _call_site(request: Request, timeout_s: float) -> Answer:
    # yfinance loads pandas: 60 MB that other jobs' processes do not need.
    from yfinance.data import YfData  # type: ignore[import-untyped]  # noqa: PLC0415
    from yfinance.exceptions import (  # type: ignore[import-untyped]  # noqa: PLC0415
        YFException,
        YFRateLimitError,
    )

    base_url = PAGES_URL if request.path == CALENDAR else YAHOO.base_url
    try:
        response = YfData(session=_session()).get(
            base_url + request.path, params=dict(request.params), timeout=timeout_s
        )
    except YFRateLimitError as error:
        return Answer(429, {}, str(error), datetime.now(UTC))
    except (RequestException, YFException, OSError) as error:
        raise _unavailable(error) from None
    headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
    return Answer(int(response.status_code), headers, str(response.text), datetime.now(UTC))


class YahooSession(Session[Response]):
    """
    curl_cffi's session, which follows redirects to Yahoo's own hosts only.

    Yahoo needs those: it sets its cookie on one host, asks for consent on another, and serves the
    data from a third.
    """

    def request(self, method: Any, url: str, *args: Any, **kwargs: Any) -> Response:
        """Make a call, and those that it redirects to."""
        kwargs["allow_redirects"] = False
        for _ in range(MOST_REDIRECTS + 1):
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
        raise too_many_redirects(YAHOO.title, fix=moved(YAHOO.name))


def yahoo_url(url: str, location: str) -> str:
    """
    Return where Yahoo redirects to.

    Raises:
        RedirectRefused: If that is not a host of Yahoo's, or not encrypted.
    """
    target = urlsplit(urljoin(url, location))
    host = target.hostname or ""
    if target.scheme == "https" and (host == "yahoo.com" or host.endswith(".yahoo.com")):
        return target.geturl()
    raise RedirectRefused(
        f"{YAHOO.title} redirects to {target.scheme}://{host}, which is not followed",
        fix=moved(YAHOO.name),
    )


@functools.cache
def _session() -> YahooSession:
    return YahooSession(impersonate="chrome")


async def _call_simulator(request: Request, base_url: str, timeout_s: float) -> Answer:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s)) as session,
            get(
                session,
                base_url + request.path,
                server=YAHOO.title,
                fix=moved(YAHOO.name),
                params=request.params,
            ) as response,
        ):
            text = await response.text(errors="replace")
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, headers, text, datetime.now(UTC))
    except (aiohttp.ClientError, OSError) as error:
        raise _unavailable(error) from None


def _calendar(answer: Answer) -> Answer:
    """Return the page's table as JSON; a page without one is an error, not an empty calendar."""
    rows = table(answer.text, CALENDAR_COLUMNS)
    envelope: dict[str, object] = {"result": rows, "error": None}
    if rows is None:
        envelope["error"] = {
            "code": "Unexpected page",
            "description": "the earnings calendar has no table of earnings",
        }
    body = json.dumps({"earningsCalendar": envelope})
    return Answer(answer.status, answer.headers, body, answer.received_at)


def _unavailable(error: Exception) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"{YAHOO.title} cannot be reached, or broke off: {type(error).__name__}"
    )

"""
Calls of Yahoo Finance.

The site wants a cookie, a crumb that fits it and a browser's TLS; yfinance knows how to get them,
so the site is called through yfinance's session, but the answers are Yahoo's own. yfinance has its
base URLs in constants of many modules: a simulator is called by plain HTTP instead, where none of
this is needed.
"""

import asyncio
import json
from datetime import UTC, datetime

import aiohttp
from curl_cffi.requests.exceptions import RequestException

from ray_pipeline.errors import ProviderUnavailable
from ray_pipeline.jobs._html import table
from ray_pipeline.providers import YAHOO
from ray_pipeline.refusals import Answer
from ray_pipeline.spec import Request

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
        response = YfData().get(
            base_url + request.path, params=dict(request.params), timeout=timeout_s
        )
    except YFRateLimitError as error:
        return Answer(429, {}, str(error), datetime.now(UTC))
    except (RequestException, YFException, OSError) as error:
        raise _unavailable(error) from None
    headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
    return Answer(int(response.status_code), headers, str(response.text), datetime.now(UTC))


async def _call_simulator(request: Request, base_url: str, timeout_s: float) -> Answer:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s)) as session,
            session.get(base_url + request.path, params=dict(request.params)) as response,
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

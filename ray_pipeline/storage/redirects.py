"""
Redirects of servers that are shown a key: followed on the same host, and nowhere else.

HTTP libraries drop the Authorization header on the way to another host, but neither a header such
as X-Finnhub-Token nor a key in the query.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from string import punctuation
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import aiohttp
import yarl

from ray_pipeline.errors import RedirectRefused

MOST_REDIRECTS = 5  # of one call
REDIRECTS = frozenset({300, 301, 302, 303, 307, 308})
# The secure form of a scheme is the same host's, if both ports are the usual ones.
SECURE = {"http": "https", "ws": "wss"}
PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


def redirect_target(
    url: str, status: int, location: str | None, *, server: str, fix: str
) -> str | None:
    """
    Return the URL to which an answer redirects; None for an answer that does not.

    Args:
        url: What was asked.
        status: The answer's HTTP status.
        location: Its Location header.
        server: The server's name in the error.
        fix: What a person can do where the server has moved.

    Raises:
        RedirectRefused: If that is another host, another port, or not encrypted where `url` is.
    """
    if status not in REDIRECTS or not location:
        return None
    here = urlsplit(url)
    try:
        target = urlsplit(urljoin(url, quote(location, safe=punctuation)))
        if here.scheme in {"ws", "wss"} and target.scheme in {"http", "https"}:
            target = target._replace(scheme=target.scheme.replace("http", "ws"))
        same_host = _same_host(here, target)
        yarl.URL(target.geturl(), encoded=True)
    except ValueError:
        raise RedirectRefused(f"{server} redirects to a URL that cannot be read", fix=fix) from None
    if not same_host:
        raise RedirectRefused(
            f"{server} redirects from {here.scheme}://{_address(here)} to "
            f"{target.scheme}://{_address(target)}, which is not followed: no key goes there",
            fix=fix,
        )
    return target._replace(fragment="").geturl()


def too_many_redirects(server: str, *, fix: str) -> RedirectRefused:
    """Return the error for a server that redirects without end."""
    return RedirectRefused(f"{server} redirects more than {MOST_REDIRECTS} times", fix=fix)


def moved(provider: str, *, setting: str = "REST_URL") -> str:
    """Return what a person can do about a provider that redirects to another host."""
    return f"if it has moved there, set PIPELINE_{provider.upper()}__{setting}"


@asynccontextmanager
async def get(
    session: aiohttp.ClientSession,
    url: str | yarl.URL,
    *,
    server: str,
    fix: str,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    key_parameter: str = "",
) -> AsyncIterator[aiohttp.ClientResponse]:
    """
    GET a URL, and what it redirects to on the same host, for the length of a block.

    Args:
        session: The connections.
        url: What to ask.
        server: The server's name in errors.
        fix: What a person can do where the server has moved.
        params: The query; a redirect brings its own.
        headers: Sent with each call.
        key_parameter: The parameter that holds the key, which a redirect may leave out.

    Raises:
        RedirectRefused: If it redirects to another host, or too often.
        aiohttp.ClientError: As aiohttp does.
    """
    asked = yarl.URL(url).extend_query(params) if params else yarl.URL(url)
    key = asked.query.get(key_parameter)
    for _ in range(MOST_REDIRECTS + 1):
        async with session.get(asked, headers=headers, allow_redirects=False) as response:
            target = redirect_target(
                str(asked),
                response.status,
                response.headers.get("Location"),
                server=server,
                fix=fix,
            )
            if target is None:
                yield response
                return
        asked = yarl.URL(target, encoded=True)
        if key is not None and key_parameter not in asked.query:
            asked = asked.extend_query({key_parameter: key})
    raise too_many_redirects(server, fix=fix)


def _same_host(here: SplitResult, target: SplitResult) -> bool:
    if here.hostname != target.hostname:
        return False
    if here.scheme == target.scheme:
        return _port(here) == _port(target)
    usual = here.port in {None, 80} and target.port in {None, 443}
    return SECURE.get(here.scheme) == target.scheme and usual


def _port(url: SplitResult) -> int | None:
    return url.port or PORTS.get(url.scheme)


def _address(url: SplitResult) -> str:
    """Return host and port, without user and password."""
    return url.netloc.rpartition("@")[2]

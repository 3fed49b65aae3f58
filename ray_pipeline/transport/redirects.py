"""
Redirects of servers that receive a key. Only redirects to the same host are followed.

HTTP libraries drop the Authorization header when they follow a redirect to another host, but they
keep a header such as X-Finnhub-Token, and a key in the query.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from string import punctuation
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import aiohttp
import yarl

from ray_pipeline.errors import RedirectRefused
from ray_pipeline.transport.counted import NextCall, uncounted

MOST_REDIRECTS = 5  # of one call
REDIRECTS = frozenset({300, 301, 302, 303, 307, 308})
# A redirect to the secure scheme stays on the same host if both ports are the default ones.
SECURE = {"http": "https", "ws": "wss"}
PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


def redirect_target(
    url: str, status: int, location: str | None, *, server: str, fix: str
) -> str | None:
    """
    Return the URL to which an answer redirects; None if it does not redirect.

    Args:
        url: The URL of the request.
        status: The HTTP status of the answer.
        location: Its Location header.
        server: The server's name in the error.
        fix: The error's advice for a server that has moved.

    Raises:
        RedirectRefused: If the target is another host or another port, or is not encrypted
            although `url` is.
    """
    if status not in REDIRECTS or not location:
        return None
    source = urlsplit(url)
    try:
        target = urlsplit(urljoin(url, quote(location, safe=punctuation)))
        if source.scheme in {"ws", "wss"} and target.scheme in {"http", "https"}:
            target = target._replace(scheme=target.scheme.replace("http", "ws"))
        same_host = _same_host(source, target)
        yarl.URL(target.geturl(), encoded=True)
    except ValueError:
        raise RedirectRefused(f"{server} redirects to a URL that cannot be read", fix=fix) from None
    if not same_host:
        raise RedirectRefused(
            f"{server} redirects from {source.scheme}://{_address(source)} to "
            f"{target.scheme}://{_address(target)}, which is not followed: no key goes there",
            fix=fix,
        )
    return target._replace(fragment="").geturl()


def too_many_redirects(server: str, *, fix: str) -> RedirectRefused:
    """Return the error for a server that redirects more than MOST_REDIRECTS times."""
    return RedirectRefused(f"{server} redirects more than {MOST_REDIRECTS} times", fix=fix)


def moved(provider: str, *, setting: str = "REST_URL") -> str:
    """Return the advice for a provider that redirects to another host."""
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
    next_call: NextCall = uncounted,
) -> AsyncIterator[aiohttp.ClientResponse]:
    """
    GET a URL and follow redirects to the same host. The response is open inside the block.

    Args:
        session: The connections.
        url: The URL.
        server: The server's name in errors.
        fix: The errors' advice for a server that has moved.
        params: The query. A redirect replaces it.
        headers: Sent with each request.
        key_parameter: The query parameter of the key, which is added to a redirect without it.
        next_call: Opened around each request, redirects included.

    Raises:
        RedirectRefused: If the server redirects to another host, or too often.
        aiohttp.ClientError: If a request fails.
    """
    current = yarl.URL(url).extend_query(params) if params else yarl.URL(url)
    key = current.query.get(key_parameter)
    for _ in range(MOST_REDIRECTS + 1):
        async with (
            next_call(),
            session.get(current, headers=headers, allow_redirects=False) as response,
        ):
            target = redirect_target(
                str(current),
                response.status,
                response.headers.get("Location"),
                server=server,
                fix=fix,
            )
            if target is None:
                yield response
                return
        current = yarl.URL(target, encoded=True)
        if key is not None and key_parameter not in current.query:
            current = current.extend_query({key_parameter: key})
    raise too_many_redirects(server, fix=fix)


def _same_host(source: SplitResult, target: SplitResult) -> bool:
    if source.hostname != target.hostname:
        return False
    if source.scheme == target.scheme:
        return _port(source) == _port(target)
    default_ports = source.port in {None, 80} and target.port in {None, 443}
    return SECURE.get(source.scheme) == target.scheme and default_ports


def _port(url: SplitResult) -> int | None:
    return url.port or PORTS.get(url.scheme)


def _address(url: SplitResult) -> str:
    """Return host and port, without user and password."""
    return url.netloc.rpartition("@")[2]

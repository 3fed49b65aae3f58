"""Plain HTTP calls: bounded in time and size, with the key removed from every answer."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp

from ray_pipeline.errors import AnswerTooLarge, ProviderUnavailable, RedirectRefused
from ray_pipeline.redact import redactor
from ray_pipeline.transport.answer import Answer, decoded
from ray_pipeline.transport.client import ProviderClient, ProviderServer
from ray_pipeline.transport.counted import NextCall, never_repeat, uncounted
from ray_pipeline.transport.redirects import get, moved

TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 10.0
CHUNK_BYTES = 2**16


@asynccontextmanager
async def open_http(server: ProviderServer, base_url: str | None) -> AsyncIterator[ProviderClient]:
    """Open a client that calls a server by plain HTTP."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    # No provider needs cookies, and the default jar logs cookies that it cannot parse. A connection
    # is used once: a call over an idle one fails if the server has closed it, and wastes a permit.
    async with aiohttp.ClientSession(
        timeout=timeout,
        auto_decompress=True,
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=aiohttp.TCPConnector(force_close=True),
        middlewares=(never_repeat,),
    ) as session:
        yield HttpClient(server, base_url or server.base_url, session)


class HttpClient:
    """Calls one server by plain HTTP."""

    def __init__(
        self, server: ProviderServer, base_url: str, session: aiohttp.ClientSession
    ) -> None:
        """Use a session; its total timeout bounds each call."""
        self._server = server
        self._base_url = base_url.rstrip("/")
        self._session = session

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
        server = self._server
        query, headers = dict(params), dict(server.headers)
        headers.setdefault("Accept", "application/json, */*;q=0.8")
        if server.auth == "query" and key:
            query[server.auth_name] = key
        elif server.auth == "header" and key:
            headers[server.auth_name] = key
        elif server.auth == "bearer" and key:
            headers["Authorization"] = f"Bearer {key}"
        secrets = redactor([key])
        try:
            answer = await self._get(
                path, query, headers=headers, largest_bytes=largest_bytes, next_call=next_call
            )
        except RedirectRefused as error:
            raise RedirectRefused(secrets.text(error.args[0]), fix=error.fix) from None
        return answer.redacted(secrets)

    async def _get(
        self,
        path: str,
        params: Mapping[str, str],
        *,
        headers: Mapping[str, str],
        largest_bytes: int,
        next_call: NextCall,
    ) -> Answer:
        server = self._server
        try:
            async with get(
                self._session,
                self._base_url + path,
                server=server.title,
                fix=moved(server.name),
                params=params,
                headers=headers,
                key_parameter=server.auth_name if server.auth == "query" else "",
                next_call=next_call,
            ) as response:
                text = await _text(response, server, largest_bytes=largest_bytes)
                return Answer(response.status, headers_of(response.headers.items()), text, now())
        except TimeoutError:
            raise ProviderUnavailable(
                f"{server.title} did not answer within {self._session.timeout.total:g} s"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise unavailable(server, error) from None


def headers_of(pairs: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """
    Return headers by their names in lower case; the values of a repeated one are one list.

    HTTP defines a repeated header as the list of its values, separated by commas. To keep the last
    value only would ignore the longest pause of two Retry-After headers.
    """
    headers: dict[str, str] = {}
    for name, value in pairs:
        key, text = name.lower(), value or ""
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


def unavailable(server: ProviderServer, error: Exception) -> ProviderUnavailable:
    """Return the error for a failed connection."""
    # Only the type: the texts of HTTP libraries can contain the URL, and the URL the key.
    return ProviderUnavailable(
        f"{server.title} cannot be reached, or broke off: {type(error).__name__}"
    )


async def _text(
    response: aiohttp.ClientResponse, server: ProviderServer, *, largest_bytes: int
) -> str:
    """
    Read the body.

    Raises:
        AnswerTooLarge: If the body is larger than that. The connection is closed, not read to its
            end.
    """
    # Chunk by chunk after decompression: a small compressed body can unpack to a very large one.
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(CHUNK_BYTES):
        parts.append(part)
        size += len(part)
        if size > largest_bytes:
            raise AnswerTooLarge(
                f"{server.title} answered with more than {largest_bytes / 2**20:g} MiB, "
                "which is not taken"
            )
    return decoded(b"".join(parts), response.charset)

"""HTTP calls of providers: bounded in time and size; no key leaves the host or is in an answer."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import aiohttp

from ray_pipeline.errors import AnswerTooLarge, ProviderUnavailable, RedirectRefused
from ray_pipeline.jobs.spec import Request
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.refusals import Answer
from ray_pipeline.redact import redactor
from ray_pipeline.storage.redirects import get, moved

TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 10.0
CHUNK_BYTES = 2**16


class HttpClient:
    """Calls providers by plain HTTP; one for a run, used as an async context manager."""

    def __init__(
        self, base_urls: Mapping[str, str] | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Take the providers' base URLs where they are not the usual ones, by provider."""
        self._base_urls = dict(base_urls or {})
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=CONNECT_TIMEOUT_S)

    async def __aenter__(self) -> Self:
        """Open a pool of connections."""
        # Nothing needs cookies, and the usual jar logs what it cannot read, whatever is in it.
        self._session = aiohttp.ClientSession(
            timeout=self._timeout, auto_decompress=True, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self._session.close()

    async def fetch(
        self, provider: Provider, request: Request, *, key: str, largest_bytes: int
    ) -> Answer:
        """
        Make one call and return the answer, whatever its status, with the key replaced in it.

        Raises:
            AnswerTooLarge: If its body, unpacked, is larger than that.
            RedirectRefused: If the provider redirects to another host.
            ProviderUnavailable: If there is none in time; the text names no URL and no key.
        """
        params, headers = dict(request.params), dict(provider.headers)
        headers.setdefault("Accept", "application/json, */*;q=0.8")
        if provider.auth == "query" and key:
            params[provider.auth_name] = key
        elif provider.auth == "header" and key:
            headers[provider.auth_name] = key
        elif provider.auth == "bearer" and key:
            headers["Authorization"] = f"Bearer {key}"
        secrets = redactor([key])
        try:
            answer = await self._get(
                provider, request.path, params=params, headers=headers, largest_bytes=largest_bytes
            )
        except RedirectRefused as error:
            raise RedirectRefused(secrets.text(error.args[0]), fix=error.fix) from None
        return answer.redacted(secrets)

    async def _get(
        self,
        provider: Provider,
        path: str,
        *,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        largest_bytes: int,
    ) -> Answer:
        url = self._base_urls.get(provider.name, provider.base_url).rstrip("/") + path
        try:
            async with (
                asyncio.timeout(self._timeout.total),
                get(
                    self._session,
                    url,
                    server=provider.title,
                    fix=moved(provider.name),
                    params=params,
                    headers=headers,
                    key_parameter=provider.auth_name if provider.auth == "query" else "",
                ) as response,
            ):
                text = await _text(response, provider, largest_bytes=largest_bytes)
                return Answer(
                    response.status,
                    {name.lower(): value for name, value in response.headers.items()},
                    text,
                    datetime.now(UTC),
                )
        except TimeoutError:
            raise ProviderUnavailable(
                f"{provider.title} did not answer within {self._timeout.total:g} s"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            # The library's texts may hold the URL, and the URL the key.
            raise ProviderUnavailable(
                f"{provider.title} cannot be reached, or broke off: {type(error).__name__}"
            ) from None


async def _text(response: aiohttp.ClientResponse, provider: Provider, *, largest_bytes: int) -> str:
    """
    Read the body, chunk by chunk as it is unpacked: a small one may stand for a very large one.

    Raises:
        AnswerTooLarge: If it is larger than that; the connection is closed, not read to its end.
    """
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(CHUNK_BYTES):
        parts.append(part)
        size += len(part)
        if size > largest_bytes:
            raise AnswerTooLarge(
                f"{provider.title} answered with more than {largest_bytes / 2**20:g} MiB, "
                "which is not taken"
            )
    body = b"".join(parts)
    try:
        return body.decode(response.charset or "utf-8", "replace")
    except LookupError:  # the provider made the name up
        return body.decode("utf-8", "replace")

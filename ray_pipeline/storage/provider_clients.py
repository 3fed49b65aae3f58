"""The clients of the providers that a run calls."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from ray_pipeline.jobs.spec import Request
from ray_pipeline.providers.provider import Provider
from ray_pipeline.transport.answer import Answer
from ray_pipeline.transport.client import ProviderClient
from ray_pipeline.transport.counted import NextCall, uncounted


class Clients:
    """Opens the client of each provider at its first call; an async context manager."""

    def __init__(self, base_urls: Mapping[str, str] | None = None) -> None:
        """Take the base URLs of providers that are not at their usual address, by name."""
        self._base_urls = dict(base_urls or {})
        self._clients: dict[str, ProviderClient] = {}
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Return the clients; none is open yet."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every client."""
        await self._stack.aclose()

    async def fetch(
        self,
        provider: Provider,
        request: Request,
        *,
        key: str,
        largest_bytes: int,
        next_call: NextCall = uncounted,
    ) -> Answer:
        """Make a request; see `ProviderClient.fetch`."""
        client = await self._client(provider)
        return await client.fetch(
            request.path,
            request.params,
            key=key,
            largest_bytes=largest_bytes,
            next_call=next_call,
        )

    async def _client(self, provider: Provider) -> ProviderClient:
        # A run makes calls at the same time, and opening a client may wait.
        async with self._opening:
            if provider.name not in self._clients:
                base_url = self._base_urls.get(provider.name)
                self._clients[provider.name] = await self._stack.enter_async_context(
                    provider.open_client(provider, base_url)
                )
            return self._clients[provider.name]

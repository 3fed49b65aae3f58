"""The client for each provider: plain HTTP for most, one that knows the site for a few."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from ray_pipeline.jobs.spec import Request
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.refusals import Answer
from ray_pipeline.storage.http import TIMEOUT_S, HttpClient
from ray_pipeline.storage.truth_social_client import TruthSocialClient
from ray_pipeline.storage.yahoo_client import fetch_yahoo


class Clients:
    """Calls any provider; an async context manager."""

    def __init__(self, base_urls: Mapping[str, str] | None = None) -> None:
        """Take the providers' base URLs where they are not the usual ones, by provider."""
        self._base_urls = dict(base_urls or {})
        self._http = HttpClient(self._base_urls)
        self._truth_social = TruthSocialClient(self._base_urls.get("truth_social"))

    async def __aenter__(self) -> Self:
        """Open the pool of connections."""
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self._http.__aexit__(kind, error, trace)

    async def fetch(
        self, provider: Provider, request: Request, *, key: str, largest_bytes: int
    ) -> Answer:
        """
        Make one call and return the answer, whatever its status.

        Raises:
            AnswerTooLarge: If its body is larger than that. The libraries that know Yahoo and Truth
                Social read their pages whole.
            ProviderUnavailable: If there is none in time; the text names no URL and no key.
            RedirectRefused: If the provider redirects to another host.
        """
        if provider.client == "truth_social":
            return await self._truth_social.fetch(provider, request, key=key)
        if provider.client == "yahoo":
            return await fetch_yahoo(
                request, base_url=self._base_urls.get(provider.name), timeout_s=TIMEOUT_S
            )
        return await self._http.fetch(provider, request, key=key, largest_bytes=largest_bytes)

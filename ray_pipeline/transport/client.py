"""What a client of a provider does, and what it needs to know about the provider's server."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

from ray_pipeline.transport.answer import Answer
from ray_pipeline.transport.counted import NextCall

Auth = Literal["none", "query", "header", "bearer", "login"]


class ProviderServer(Protocol):
    """The server of a provider; `Provider` has these attributes."""

    @property
    def name(self) -> str:
        """The provider's name in settings."""

    @property
    def title(self) -> str:
        """The provider's name in texts for people."""

    @property
    def base_url(self) -> str:
        """The usual base URL."""

    @property
    def auth(self) -> Auth:
        """How a client passes the key."""

    @property
    def auth_name(self) -> str:
        """The query parameter or the header of the key."""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Headers of every request."""


class ProviderClient(Protocol):
    """Calls one provider."""

    async def fetch(
        self,
        path: str,
        params: Mapping[str, str],
        *,
        key: str,
        largest_bytes: int,
        next_call: NextCall,
    ) -> Answer:
        """
        Make a request and return its answer, whatever its status, without the key.

        A login and each redirect to the same host are further calls.

        Args:
            path: The path after the base URL.
            params: The query, without the key.
            key: The key; empty for a provider that needs none.
            largest_bytes: The largest body that is accepted.
            next_call: Opened around each call.

        Raises:
            AnswerTooLarge: If the body is larger than `largest_bytes`.
            ProviderUnavailable: If no answer arrives in time. The text has neither URL nor key.
            RedirectRefused: If the provider redirects to another host.
        """


# Opens a client for a server at a base URL; None is the server's usual one. A client that needs
# more than the usual URL, such as Yahoo's cookies, tells the real site from a simulator by this.
OpenClient = Callable[[ProviderServer, str | None], AbstractAsyncContextManager[ProviderClient]]

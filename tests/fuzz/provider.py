"""Every provider on one socket; the answer to one request is a mutation."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from aiohttp import web

from ray_pipeline.jobs.spec import Request
from ray_pipeline.providers.provider import Provider
from ray_pipeline.simulators.rest import RestOptions, RestSimulator
from ray_pipeline.storage.provider_clients import Clients
from ray_pipeline.transport.answer import Answer
from ray_pipeline.transport.counted import NextCall
from tests.fuzz.mutations import Sent


@dataclass(frozen=True, slots=True)
class Signature:
    """What distinguishes a request: provider, path and query, without the key."""

    provider: str
    path: str
    query: tuple[tuple[str, str], ...]


def signature(provider: Provider, path: str, query: Mapping[str, str]) -> Signature:
    """Return the signature of a request."""
    shown = tuple(sorted(item for item in query.items() if item[0] != provider.auth_name))
    return Signature(provider.name, unquote(path), shown)


class MutatingProvider(RestSimulator):
    """
    Every provider; the answer to one request is a mutation.

    Attributes:
        target: The request.
        sent: Its answer; None: the simulated one.
        bodies: The simulated answers since the last reset, by request.
        received: The requests that arrived for each provider, logins included.
    """

    def __init__(self, options: RestOptions) -> None:
        super().__init__(options)
        self.target: Signature | None = None
        self.sent: Sent | None = None
        self.bodies: dict[Signature, web.Response] = {}
        self.received: Counter[str] = Counter()

    def generate_all(self) -> None:
        """Generate every answer from now on; the recordings belong to other items."""
        self._recordings = []

    async def _answer(self, provider: Provider, request: web.Request) -> web.StreamResponse:
        self.received[provider.name] += 1
        response = await super()._answer(provider, request)
        path = "/" + request.match_info["path"]
        asked = signature(provider, path, dict(request.query))
        if isinstance(response, web.Response):
            self.bodies[asked] = response
        if self.sent is None or asked != self.target:
            return response
        headers = {**self.sent.headers, "Content-Type": self.sent.content_type}
        return web.Response(body=self.sent.body, status=self.sent.status, headers=headers)


@dataclass
class NotingFetcher:
    """The real clients; notes each request, and the items that send it."""

    clients: Clients
    items: dict[Signature, set[str]] = field(default_factory=dict)
    requests: dict[Signature, Request] = field(default_factory=dict)

    async def fetch(
        self,
        provider: Provider,
        request: Request,
        *,
        key: str,
        largest_bytes: int,
        next_call: NextCall,
    ) -> Answer:
        asked = signature(provider, request.path, request.params)
        self.requests[asked] = request
        self.items.setdefault(asked, set()).add(request.item)
        return await self.clients.fetch(
            provider, request, key=key, largest_bytes=largest_bytes, next_call=next_call
        )

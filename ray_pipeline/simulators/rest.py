"""
One server that speaks every REST provider's protocol, each under its own path.

Answers come from recorded bodies where a folder of them is given and one of them answers the
request, else they are generated, the same ones for the same seed. Keys are counted as the provider
counts them, refusals have its own words, and faults come on request through the control endpoint.
"""

import asyncio
import json
import logging
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from ray_pipeline.providers import PROVIDERS
from ray_pipeline.providers.provider import Provider
from ray_pipeline.redact import fingerprint
from ray_pipeline.simulators import refusal_texts
from ray_pipeline.simulators.base import serve_routes
from ray_pipeline.simulators.bodies import Body, generate
from ray_pipeline.simulators.recorded import Recording, find, read_recordings

log = logging.getLogger(__name__)

ARRIVALS_KEPT = 20_000  # of one key; more than any window holds
FAULTS = ("refuse", "quota", "slow", "broken", "truncated", "error", "bad_key", "clear")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class RestOptions:
    """
    What the simulator does.

    Attributes:
        host, port, control_port: Where it listens; 0 picks a free port.
        seed: The same seed gives the same answers.
        payloads: A folder of recorded bodies with its manifest.jsonl; None for generated ones only.
        keys: Keys that are accepted; None for any.
        enforce: Refuse what exceeds the providers' quotas, counted by arrival.
    """

    host: str = "127.0.0.1"
    port: int = 0
    control_port: int = 0
    seed: int = 1
    payloads: Path | None = None
    keys: tuple[str, ...] | None = None
    enforce: bool = False


@dataclass(slots=True)
class Fault:
    """What a provider does wrong until told otherwise."""

    kind: str
    after: int = 0  # calls that are answered first
    count: int = 10**9  # calls that it lasts
    seconds: float = 0.0
    status: int = 500


@dataclass(slots=True)
class ProviderStats:
    """What one provider was asked."""

    calls: int = 0
    answered: int = 0
    refused: int = 0
    faults: int = 0
    recorded: int = 0
    over_quota: int = 0
    calls_by_key: dict[str, int] = field(default_factory=dict)
    paths: dict[str, int] = field(default_factory=dict)


class RestSimulator:
    """The server; an async context manager."""

    def __init__(self, options: RestOptions | None = None) -> None:
        self.options = options or RestOptions()
        self.port = self.control_port = 0
        self.stats: dict[str, ProviderStats] = {one.name: ProviderStats() for one in PROVIDERS}
        self._faults: dict[str, Fault] = {}
        self._arrivals: dict[tuple[str, str], list[float]] = {}
        self._recordings: list[Recording] = (
            read_recordings(self.options.payloads) if self.options.payloads else []
        )
        self._servers = AsyncExitStack()

    @property
    def control_url(self) -> str:
        """Where faults are asked for."""
        return f"http://{self.options.host}:{self.control_port}/control"

    def url(self, provider: str) -> str:
        """Return a provider's base URL here."""
        return f"http://{self.options.host}:{self.port}/{provider}"

    @property
    def base_url(self) -> str:
        """Where the providers are, each under its name."""
        return f"http://{self.options.host}:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """The settings that send every provider's calls here."""
        return self.environment()

    def environment(self) -> dict[str, str]:
        """Return the settings that send every provider's calls here."""
        return {f"PIPELINE_{one.name.upper()}__REST_URL": self.url(one.name) for one in PROVIDERS}

    async def __aenter__(self) -> "RestSimulator":
        """Listen."""
        routes = [
            route
            for one in PROVIDERS
            for route in (
                web.get(f"/{one.name}/{{path:.*}}", self._handler(one)),
                web.post(f"/{one.name}/{{path:.*}}", self._handler(one)),
            )
        ]
        servers, host = self._servers, self.options.host
        self.port = await serve_routes(servers, routes, host=host, port=self.options.port)
        control = [web.get("/control", self._show), web.post("/control", self._control)]
        control_port = self.options.control_port
        self.control_port = await serve_routes(servers, control, host=host, port=control_port)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self._servers.aclose()

    # Answers -----------------------------------------------------------------------------------

    def _handler(self, provider: Provider) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._answer(provider, request)

        return handle

    async def _answer(self, provider: Provider, request: web.Request) -> web.StreamResponse:
        stats = self.stats[provider.name]
        path = "/" + request.match_info["path"]
        if path == "/oauth/v2/token":
            return web.json_response({"access_token": "simulated", "token_type": "Bearer"})
        key = _key(provider, request)
        stats.calls += 1
        name = fingerprint(key)
        stats.calls_by_key[name] = stats.calls_by_key.get(name, 0) + 1
        stats.paths[path] = stats.paths.get(path, 0) + 1
        if provider.needs_key and not self._accepted(key):
            stats.refused += 1
            return _response(refusal_texts.bad_key(provider.name))
        if self._over_quota(provider, key):
            stats.over_quota += 1
            if self.options.enforce:
                stats.refused += 1
                return _response(refusal_texts.quota(provider.name))
        body = self._body(provider, path, dict(request.query))
        fault = self._fault(provider.name)
        if fault is not None:
            stats.faults += 1
            return await _faulty(provider, request, fault, body)
        stats.answered += 1
        return _response(body)

    def _accepted(self, key: str) -> bool:
        return bool(key) and (self.options.keys is None or key in self.options.keys)

    def _body(self, provider: Provider, path: str, query: Mapping[str, str]) -> Body:
        recording = find(self._recordings, provider.name, path, query)
        if recording is not None:
            self.stats[provider.name].recorded += 1
            return Body(recording.read(), recording.content_type, recording.status)
        return generate(provider.name, path, query, seed=self.options.seed)

    def _over_quota(self, provider: Provider, key: str) -> bool:
        """Count this call as the provider would, by arrival, and say whether it is one too many."""
        now_s = asyncio.get_running_loop().time()
        arrivals = self._arrivals.setdefault((provider.name, key), [])
        over = False
        for window in provider.quota.windows:
            period_s = window.period.total_seconds() if window.reset == "sliding" else 86_400.0
            # The provider's own period: ours has a margin on top of it.
            period_s = period_s / 1.01 - 0.2 if window.reset == "sliding" else period_s
            recent = len(arrivals) - bisect_right(arrivals, now_s - period_s)
            over = over or recent >= window.limit
        arrivals.append(now_s)
        del arrivals[:-ARRIVALS_KEPT]
        return over

    # Faults ------------------------------------------------------------------------------------

    def _fault(self, provider: str) -> Fault | None:
        fault = self._faults.get(provider)
        if fault is None:
            return None
        if fault.after > 0:
            fault.after -= 1
            return None
        fault.count -= 1
        if fault.count <= 0:
            del self._faults[provider]
        return fault

    def do_fault(
        self,
        provider: str,
        kind: str,
        *,
        after: int = 0,
        count: int = 10**9,
        seconds: float = 0.0,
        status: int = 500,
    ) -> None:
        """
        Let a provider go wrong.

        Args:
            provider: Its name.
            kind: refuse (429), quota (its own words), slow, broken (not JSON), truncated, error
                (an HTTP status), bad_key, or clear.
            after: Calls that are answered before.
            count: Calls that it lasts.
            seconds: Of slowness, or of Retry-After.
            status: For error.

        Raises:
            ValueError: If there is no such provider or fault.
        """
        if provider not in self.stats:
            raise ValueError(f"no provider {provider!r}; one of {', '.join(self.stats)}")
        if kind not in FAULTS:
            raise ValueError(f"no fault {kind!r}; one of {', '.join(FAULTS)}")
        if kind == "clear":
            self._faults.pop(provider, None)
        else:
            self._faults[provider] = Fault(kind, after, count, seconds, status)

    async def _show(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {
                "providers": {name: asdict(stats) for name, stats in self.stats.items()},
                "faults": {name: asdict(fault) for name, fault in self._faults.items()},
            }
        )

    async def _control(self, request: web.Request) -> web.Response:
        """{"provider": "fred", "fault": "quota", "after": 3, "count": 10}"""
        try:
            asked: dict[str, Any] = json.loads(await request.text())
            provider, kind = str(asked.pop("provider")), str(asked.pop("fault"))
            self.do_fault(provider, kind, **asked)
        except (ValueError, KeyError, TypeError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
        return web.json_response({"ok": True})


def _key(provider: Provider, request: web.Request) -> str:
    if provider.auth == "query":
        return request.query.get(provider.auth_name, "")
    if provider.auth == "header":
        return request.headers.get(provider.auth_name, "")
    if provider.auth in {"bearer", "login"}:
        return request.headers.get("Authorization", "").removeprefix("Bearer ")
    return ""


def _response(body: Body) -> web.Response:
    return web.Response(
        text=body.text,
        status=body.status,
        content_type=body.content_type,
        headers=dict(body.headers),
    )


async def _faulty(
    provider: Provider, request: web.Request, fault: Fault, body: Body
) -> web.StreamResponse:
    if fault.kind == "refuse":
        headers = {"Retry-After": f"{fault.seconds:g}"} if fault.seconds else {}
        refused = refusal_texts.rate(provider.name)
        return _response(Body(refused.text, refused.content_type, refused.status, headers))
    if fault.kind == "quota":
        return _response(refusal_texts.quota(provider.name))
    if fault.kind == "bad_key":
        return _response(refusal_texts.bad_key(provider.name))
    if fault.kind == "slow":
        await asyncio.sleep(fault.seconds)
        return _response(body)
    if fault.kind == "broken":
        return _response(Body("<html>bad gateway", body.content_type))
    if fault.kind == "truncated":
        # Announced whole, then cut off: what a proxy that dies does.
        response = web.StreamResponse(headers={"Content-Type": body.content_type})
        response.content_length = len(body.text.encode())
        await response.prepare(request)
        await response.write(body.text.encode()[: response.content_length // 2])
        if request.transport is not None:
            request.transport.close()
        return response
    return web.Response(text="server error", status=fault.status)

"""
One server that simulates every REST provider, each under its own path.

An answer comes from the folder of recorded answers if there is one that matches the request.
Otherwise it is generated, the same answer for the same seed. Calls are counted per key as the
provider counts them, refusals have the provider's texts, and the control endpoint injects faults.
"""

import asyncio
import json
import logging
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import DAY, Window, without_margin
from ray_pipeline.providers.registry import all_providers, provider_names
from ray_pipeline.redact import fingerprint
from ray_pipeline.simulators.bodies import Body, Simulated, generate, simulated
from ray_pipeline.simulators.listening import serve_routes
from ray_pipeline.simulators.recorded import Recording, find, read_recordings

log = logging.getLogger(__name__)

ARRIVALS_KEPT = 20_000  # of one key; more than any window holds
FAULTS = ("refuse", "quota", "slow", "broken", "truncated", "error", "bad_key", "clear")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class RestOptions:
    """
    Options of the simulator.

    Attributes:
        host, port, control_port: The address; port 0 picks a free port.
        seed: The same seed gives the same answers.
        payloads: A folder of recorded answers with its manifest.jsonl; None to generate all.
        keys: Keys that are accepted; None for any.
        enforce: Refuse calls that exceed the providers' quotas, counted at their arrival.
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
    """A fault of a provider."""

    kind: str
    after: int = 0  # calls that are answered before the fault begins
    count: int = 10**9  # calls that fail
    seconds: float = 0.0
    status: int = 500


@dataclass(slots=True)
class ProviderStats:
    """The calls that one provider received."""

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
        self.stats = {name: ProviderStats() for name in provider_names()}
        self._faults: dict[str, Fault] = {}
        self._arrivals: dict[tuple[str, str], list[float]] = {}
        self._recordings: list[Recording] = (
            read_recordings(self.options.payloads) if self.options.payloads else []
        )
        self._servers = AsyncExitStack()

    @property
    def control_url(self) -> str:
        """The URL that injects faults."""
        return f"http://{self.options.host}:{self.control_port}/control"

    def url(self, provider: str) -> str:
        """Return the base URL of a simulated provider."""
        return f"http://{self.options.host}:{self.port}/{provider}"

    @property
    def base_url(self) -> str:
        """The URL of the server; each provider is below it, under its name."""
        return f"http://{self.options.host}:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """The variables of settings that send every provider's calls to the simulator."""
        return {f"PIPELINE_{name.upper()}__REST_URL": self.url(name) for name in provider_names()}

    async def __aenter__(self) -> "RestSimulator":
        """Listen."""
        routes = [
            route
            for provider in all_providers()
            for route in (
                web.get(f"/{provider.name}/{{path:.*}}", self._handler(provider)),
                web.post(f"/{provider.name}/{{path:.*}}", self._handler(provider)),
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
        simulation = simulated(provider.name)
        if path in simulation.without_key:
            return _response(simulation.without_key[path])
        key = _key(provider, request)
        stats.calls += 1
        name = fingerprint(key)
        stats.calls_by_key[name] = stats.calls_by_key.get(name, 0) + 1
        stats.paths[path] = stats.paths.get(path, 0) + 1
        if provider.needs_key and not self._accepted(key):
            stats.refused += 1
            return _response(simulation.bad_key)
        if self._over_quota(provider, key):
            stats.over_quota += 1
            if self.options.enforce:
                stats.refused += 1
                return _response(simulation.past_quota())
        body = self._body(provider, path, dict(request.query))
        fault = self._fault(provider.name)
        if fault is not None:
            stats.faults += 1
            return await _faulty(simulation, request, fault, body)
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
        """Count a call at its arrival, as the provider would, and return whether it is too many."""
        now_s = asyncio.get_running_loop().time()
        arrivals = self._arrivals.setdefault((provider.name, key), [])
        over = False
        for window in provider.quota.windows:
            recent = len(arrivals) - bisect_right(arrivals, now_s - counted_s(window))
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
        Inject a fault into a provider.

        Args:
            provider: The name of the provider.
            kind: refuse (429), quota (the provider's text), slow, broken (not JSON), truncated,
                error (an HTTP status), bad_key; or clear, which ends the fault.
            after: Calls that are answered before the fault begins.
            count: Calls that fail.
            seconds: The delay of slow, or the Retry-After of refuse.
            status: The HTTP status of error.

        Raises:
            ValueError: If the provider or the fault does not exist.
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
            fault: dict[str, Any] = json.loads(await request.text())
            provider, kind = str(fault.pop("provider")), str(fault.pop("fault"))
            self.do_fault(provider, kind, **fault)
        except (ValueError, KeyError, TypeError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
        return web.json_response({"ok": True})


def counted_s(window: Window) -> float:
    """Return the seconds in which the simulator counts the calls of a window."""
    if window.reset == "sliding":
        # The provider counts without the margin of `quota.sliding`.
        return without_margin(window.period).total_seconds()
    return {"day": DAY, "month": 30 * DAY}[window.reset].total_seconds()


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
    simulation: Simulated, request: web.Request, fault: Fault, body: Body
) -> web.StreamResponse:
    if fault.kind == "refuse":
        headers = {"Retry-After": f"{fault.seconds:g}"} if fault.seconds else {}
        return _response(replace(simulation.rate, headers=headers))
    if fault.kind == "quota":
        return _response(simulation.past_quota())
    if fault.kind == "bad_key":
        return _response(simulation.bad_key)
    if fault.kind == "slow":
        await asyncio.sleep(fault.seconds)
        return _response(body)
    if fault.kind == "broken":
        return _response(Body("<html>bad gateway", body.content_type))
    if fault.kind == "truncated":
        # The length of the whole body, then half of it: as from a proxy that crashes.
        response = web.StreamResponse(headers={"Content-Type": body.content_type})
        response.content_length = len(body.text.encode())
        await response.prepare(request)
        await response.write(body.text.encode()[: response.content_length // 2])
        if request.transport is not None:
            request.transport.close()
        return response
    return web.Response(text="server error", status=fault.status)

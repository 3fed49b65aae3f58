"""The simulators that `up` and `demo` start, and the settings that point at them."""

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from ray_pipeline.cli.child_process import child_process
from ray_pipeline.providers.registry import all_providers, provider_names
from ray_pipeline.settings import Settings

DEMO_KEYS = 12  # ten shards, the top gainers, and an eleventh shard for members past 500
DEMO_FINNHUB_RATE = 400
DEMO_BITHUMB_RATE = 60
DEMO_JOBS: dict[str, object] = {
    "speed": 10_000,  # a day's quota in nine seconds
    "retry_pause_s": 10,
    "at_once": 4,
}
DEMO_KEYS_EACH = 2  # of a provider of batch data


async def start_simulators(
    cleanup: AsyncExitStack, settings: Settings, *, demo: bool
) -> tuple[Settings, tuple[str, ...]]:
    """
    Start simulators, and return the settings that use them and the names of the simulated data.

    `demo` simulates everything. Without it the feeds are simulated if Finnhub has neither a key nor
    a URL in the settings.
    """
    finnhub = settings.endpoint("finnhub")
    if not demo and (settings.stream_keys("finnhub") or finnhub.ws_url is not None):
        return settings, ()
    simulated = ["sp500", "top_gainers"]
    bithumb_url = settings.endpoint("bithumb").ws_url
    settings = await _simulate_finnhub(cleanup, settings)
    if demo or bithumb_url is None:
        settings = await _simulate_bithumb(cleanup, settings)
        simulated.append("bithumb")
    if demo:
        settings = await _simulate_rest(cleanup, settings)
        simulated.append("batch datasets")
    return settings, tuple(simulated)


async def _simulate_finnhub(cleanup: AsyncExitStack, settings: Settings) -> Settings:
    simulator = await cleanup.enter_async_context(
        _simulator("finnhub", "--rate", str(DEMO_FINNHUB_RATE))
    )
    return settings.changed(
        finnhub={
            "ws_url": simulator["url"],
            # Keys of the WebSocket only: the batch jobs keep the provider's real keys.
            "ws_keys": [f"simulated-{number}" for number in range(1, DEMO_KEYS + 1)],
        },
        # Simulated trades arrive at any hour.
        streams=_defaults(settings.streams.model_fields_set, {"market_hours": "always"}),
    )


async def _simulate_bithumb(cleanup: AsyncExitStack, settings: Settings) -> Settings:
    simulator = await cleanup.enter_async_context(
        _simulator("bithumb", "--rate", str(DEMO_BITHUMB_RATE))
    )
    return settings.changed(
        bithumb={"ws_url": simulator["ws_url"], "rest_url": simulator["rest_url"]}
    )


async def _simulate_rest(cleanup: AsyncExitStack, settings: Settings) -> Settings:
    """Send the calls of every batch job to a simulator, with a clock that shows all of them."""
    simulator = await cleanup.enter_async_context(_simulator("rest"))
    urls = {name: f"{simulator['base_url']}/{name}" for name in provider_names()}
    # The simulator of Bithumb's feed lists the markets that it sends.
    urls["bithumb"] = settings.endpoint("bithumb").rest_url or urls["bithumb"]
    keys = {
        provider.name: [
            f"simulated-{provider.name}-{number}" for number in range(1, DEMO_KEYS_EACH + 1)
        ]
        for provider in all_providers()
        if provider.needs_key
    }
    return settings.changed(
        api_keys=keys,
        jobs=_defaults(settings.jobs.model_fields_set, DEMO_JOBS),
        **{name: {"rest_url": url} for name, url in urls.items()},
    )


def _defaults(explicit: set[str], values: dict[str, object]) -> dict[str, object]:
    """Return the values of settings that the user did not set."""
    return {name: value for name, value in values.items() if name not in explicit}


def _simulator(provider: str, *options: str) -> AbstractAsyncContextManager[dict[str, Any]]:
    fix = f"run `ray-pipeline simulate {provider}`"
    return child_process("ray_pipeline.simulators", provider, *options, fix=fix)

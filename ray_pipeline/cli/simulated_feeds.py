"""The simulators that `up` and `demo` start, and the settings that point at them."""

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from ray_pipeline.cli.child_process import child_process
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.providers.registry import all_providers, provider_names
from ray_pipeline.settings import Settings
from ray_pipeline.simulators.venue_registry import venue_simulators
from ray_pipeline.stream.feed_shards import key_plan, key_providers

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

    `demo` simulates everything. Without it the feeds are simulated if the providers of API keys
    have neither a key nor a URL in the settings.
    """
    feeds = feeds_to_simulate(settings, demo=demo)
    if not feeds:
        return settings, ()
    simulated = [feed.name for feed in feeds]
    for name in dict.fromkeys(feed.simulator for feed in feeds):
        settings = await _simulate_venue(cleanup, settings, name)
    for provider in key_providers():
        if any(feed.key_provider == provider for feed in feeds):
            # Keys of the WebSocket only: the batch jobs keep the provider's real keys.
            keys = simulated_keys(settings, provider)
            settings = settings.changed(**{provider: {"ws_keys": keys}})
    # Simulated trades arrive at any hour.
    hours = _defaults(settings.streams.model_fields_set, {"market_hours": "always"})
    settings = settings.changed(streams=hours)
    if demo:
        settings = await _simulate_rest(cleanup, settings)
        simulated.append("batch datasets")
    return settings, tuple(simulated)


def feeds_to_simulate(settings: Settings, *, demo: bool) -> list[Feed]:
    """Return every enabled feed in a demo; otherwise, without any key, those without a URL."""
    feeds = settings.enabled_feeds()
    if demo:
        return list(feeds)
    for provider in key_providers():
        if settings.stream_keys(provider) or settings.endpoint(provider).ws_url is not None:
            return []
    return [feed for feed in feeds if settings.endpoint(feed.protocol.venue).ws_url is None]


def simulated_keys(settings: Settings, provider: str) -> list[str]:
    """Return keys for every configured connection, and one more for a feed that grows."""
    connections = len(key_plan(settings, provider, keys=0).connections)
    return [f"simulated-{number}" for number in range(1, connections + 2)]


async def _simulate_venue(cleanup: AsyncExitStack, settings: Settings, name: str) -> Settings:
    rate = f"{venue_simulators()[name].demo_rate:g}"
    simulator = await cleanup.enter_async_context(_simulator(name, "--rate", rate))
    venues = {feed.protocol.venue for feed in FEEDS if feed.simulator == name}
    return settings.changed(**dict.fromkeys(venues, simulator["endpoint"]))


async def _simulate_rest(cleanup: AsyncExitStack, settings: Settings) -> Settings:
    """Send the calls of every batch job to a simulator, with a clock that shows all of them."""
    simulator = await cleanup.enter_async_context(_simulator("rest"))
    # The simulator of a venue lists the symbols that it sends, so it also serves the REST API.
    venues = {feed.protocol.venue for feed in FEEDS if feed.protocol.rest_url}
    urls = {
        name: {"rest_url": f"{simulator['base_url']}/{name}"}
        for name in provider_names()
        if name not in venues
    }
    keys = {
        provider.name: [
            f"simulated-{provider.name}-{number}" for number in range(1, DEMO_KEYS_EACH + 1)
        ]
        for provider in all_providers()
        if provider.needs_key
    }
    jobs = _defaults(settings.jobs.model_fields_set, DEMO_JOBS)
    return settings.changed(api_keys=keys, jobs=jobs, **urls)


def _defaults(explicit: set[str], values: dict[str, object]) -> dict[str, object]:
    """Return the values of settings that the user did not set."""
    return {name: value for name, value in values.items() if name not in explicit}


def _simulator(name: str, *options: str) -> AbstractAsyncContextManager[dict[str, Any]]:
    fix = f"run `ray-pipeline simulate {name}`"
    return child_process("ray_pipeline.simulators", name, *options, fix=fix)

"""The registered providers: each module of `providers` with a `PROVIDER`."""

from functools import cache

from ray_pipeline import providers
from ray_pipeline.discovery import discover
from ray_pipeline.providers.provider import Provider


@cache
def all_providers() -> tuple[Provider, ...]:
    """
    Return every provider, sorted by name.

    Raises:
        PipelineError: If a module defines no `PROVIDER`, or two providers have the same name.
    """
    return discover(
        providers,
        "PROVIDER",
        Provider,
        skip=providers.SHARED_MODULES,
        guide='CONTRIBUTING.md, "Add a provider"',
    )


def provider_names() -> tuple[str, ...]:
    """Return the name of every provider, sorted."""
    return tuple(provider.name for provider in all_providers())

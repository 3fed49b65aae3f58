"""What the settings say about providers: their keys and their base URLs."""

from ray_pipeline.providers import PROVIDERS
from ray_pipeline.redact import fingerprint
from ray_pipeline.settings import Settings


def plain_keys(settings: Settings) -> dict[str, list[str]]:
    """Return every provider's keys, as they are."""
    return {one.name: settings.keys(one.name) for one in PROVIDERS}


def fingerprints(settings: Settings) -> dict[str, list[str]]:
    """Return every provider's keys by their fingerprints."""
    return {name: [fingerprint(key) for key in some] for name, some in plain_keys(settings).items()}


def base_urls(settings: Settings) -> dict[str, str]:
    """Return the providers' base URLs that the settings change."""
    urls = {one.name: getattr(settings, one.name).rest_url for one in PROVIDERS}
    return {name: url for name, url in urls.items() if url}

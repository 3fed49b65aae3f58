"""The keys of PIPELINE_API_KEYS, checked by the names of their providers."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError

from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.providers.registry import provider_names
from ray_pipeline.redact import MASK

# A key contains digits almost always, the name of a provider never.
PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z _-]{0,23}")


def endpoint_names() -> list[str]:
    """Return every provider and every venue; a venue needs no provider of batch data."""
    return sorted({*provider_names(), *(feed.protocol.venue for feed in FEEDS)})


def _with_registered_providers(keys: object) -> object:
    """
    Return the keys by provider unchanged.

    Raises:
        PydanticCustomError: If a name is not that of a provider: its keys would never be used.
    """
    names = endpoint_names()
    unknown = [name for name in keys if name not in names] if isinstance(keys, Mapping) else []
    if unknown:
        problems = ", ".join(_unknown_provider(str(name), names) for name in unknown)
        # Braces would be placeholders of the template.
        text = f"{problems}; the providers are {', '.join(names)}"
        raise PydanticCustomError("unknown_provider", "{text}", {"text": text})
    return keys


def _unknown_provider(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    # Keys and names may be swapped by mistake, and no key may appear in an error.
    shown = repr(name) if PLAIN_NAME.fullmatch(name) else MASK
    return f"{shown} is not a provider" + (f" (did you mean {close[0]}?)" if close else "")


# Checked before the values, because errors of values contain the names.
ApiKeys = Annotated[dict[str, list[SecretStr]], BeforeValidator(_with_registered_providers)]

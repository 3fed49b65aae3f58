"""
Simulated answers of providers: the same ones for the same seed and request.

`<provider>_bodies.py` defines the SIMULATED of the provider with that name. A provider without such
a module answers every request with 404.
"""

import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from random import Random

from ray_pipeline.simulators.bodies.body import NOT_FOUND, Body, Simulated

__all__ = ["Body", "Simulated", "generate", "simulated"]


def simulated(provider: str) -> Simulated:
    """Return how a provider is simulated."""
    name = f"{__name__}.{provider}_bodies"
    if find_spec(name) is None:
        return Simulated()
    value: Simulated = importlib.import_module(name).SIMULATED
    return value


def generate(provider: str, path: str, query: Mapping[str, str], *, seed: int) -> Body:
    """Return the generated answer of a provider to a request."""
    # The key has no influence: an answer stays the same when keys are rotated.
    shown = sorted((name, value) for name, value in query.items() if "key" not in name)
    random = Random(f"{seed} {provider} {path} {shown}")
    return simulated(provider).generate(path, query, random) or NOT_FOUND

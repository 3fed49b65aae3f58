"""Generated answers of REST providers: the same ones for the same seed and request."""

from collections.abc import Callable, Mapping
from random import Random

from ray_pipeline.simulators.bodies import (
    alpha_vantage,
    coingecko,
    news,
    reference,
    social,
    yahoo,
)
from ray_pipeline.simulators.bodies.body import NOT_FOUND, Body

__all__ = ["Body", "generate"]

Generate = Callable[[str, Mapping[str, str], Random], Body | None]
GENERATORS: Mapping[str, Generate] = {
    "alpha_vantage": alpha_vantage.generate,
    "finnhub": news.finnhub,
    "newsapi": news.newsapi,
    "x": social.x,
    "truth_social": social.truth_social,
    "coingecko": coingecko.generate,
    "bithumb": reference.bithumb,
    "fred": reference.fred,
    "fmp": reference.fmp,
    "yahoo": yahoo.generate,
    "wikipedia": reference.wikipedia,
}


def generate(provider: str, path: str, query: Mapping[str, str], *, seed: int) -> Body:
    """Return what a provider answers to a request."""
    shown = sorted((name, value) for name, value in query.items() if "key" not in name)
    random = Random(f"{seed} {provider} {path} {shown}")
    return GENERATORS[provider](path, query, random) or NOT_FOUND

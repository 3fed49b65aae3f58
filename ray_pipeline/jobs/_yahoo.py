"""Parts that several datasets of Yahoo use."""

from collections.abc import Mapping
from decimal import Decimal

from ray_pipeline.jobs.spec import Json
from ray_pipeline.jobs.values import decimal


def yahoo_symbol(symbol: str) -> str:
    """Return a symbol as Yahoo writes it: with the share class after a dash, BRK-B."""
    return symbol.replace(".", "-").replace("/", "-")


def raw(value: Json) -> Json:
    """Return a value that Yahoo writes plainly or, formatted, as {"raw": 5, "fmt": "5.00"}."""
    if not isinstance(value, Mapping):
        return value
    return value["raw"] if value else None  # Yahoo writes {} in place of a missing value


def figure(value: Json) -> Decimal | None:
    """Return a number; None for a missing value and NaN."""
    return decimal(raw(value))


def summary(body: Json) -> Mapping[str, Json]:
    """Return the modules of a quoteSummary: {"quoteSummary": {"result": [{...}]}}."""
    result = body["quoteSummary"]["result"]
    if not isinstance(result, list):
        raise TypeError("quoteSummary has no result")
    return result[0] if result else {}

"""What Yahoo's datasets share."""

from collections.abc import Mapping
from decimal import Decimal

from ray_pipeline.jobs.spec import Json
from ray_pipeline.jobs.values import decimal

MEMBERS = {"members": "SELECT symbol FROM sp500_companies WHERE is_member ORDER BY symbol"}


def yahoo_symbol(symbol: str) -> str:
    """Return Yahoo's spelling: a share class after a dash, where we write BRK.B."""
    return symbol.replace(".", "-").replace("/", "-")


def raw(value: Json) -> Json:
    """Return a value that Yahoo writes alone or, formatted, as {"raw": 5, "fmt": "5.00"}."""
    return value.get("raw") if isinstance(value, Mapping) else value


def figure(value: Json) -> Decimal | None:
    """Return a number; None where there is none, NaN among them."""
    return decimal(raw(value))


def summary(body: Json) -> Mapping[str, Json]:
    """Return the modules of a quoteSummary: {"quoteSummary": {"result": [{...}]}}."""
    result = body["quoteSummary"]["result"]
    if not isinstance(result, list):
        raise TypeError("quoteSummary has no result")
    return result[0] if result else {}

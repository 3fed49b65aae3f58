"""What Alpha Vantage's datasets share: requests for one symbol each, and CSV answers."""

import csv
import io
from collections.abc import Iterator

from ray_pipeline.jobs.spec import Json, Plan, Request, Run


def plan_symbols(function: str, input_name: str) -> Plan:
    """Return a plan that makes one request for each symbol of an input."""

    def plan(run: Run) -> Iterator[Request]:
        for symbol in run.values(input_name, "symbol"):
            yield Request(symbol, "/query", {"function": function, "symbol": symbol})

    return plan


def csv_rows(body: Json, columns: set[str]) -> "csv.DictReader[str]":
    """
    Return the rows of a CSV answer.

    Raises:
        ValueError: If the header lacks one of `columns`.
    """
    reader = csv.DictReader(io.StringIO(body))
    if missing := columns - set(reader.fieldnames or ()):
        raise ValueError(f"the header lacks {', '.join(sorted(missing))}")
    return reader

"""What Alpha Vantage's datasets share: requests for one symbol each, and CSV answers."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence

from ray_pipeline.errors import BadValue
from ray_pipeline.jobs.spec import Plan, Request, Run, each


def plan_symbols(function: str, input_name: str) -> Plan:
    """Return a plan that makes one request for each symbol of an input."""

    def plan(run: Run) -> Iterator[Request]:
        for symbol in run.values(input_name, "symbol"):
            yield Request(symbol, "/query", {"function": function, "symbol": symbol})

    return plan


def each_csv_row(
    body: str, columns: set[str], parse_one: Callable[[Mapping[str, str]], object]
) -> Iterator[object]:
    """
    Yield the rows of a CSV answer, as `each` does. A line with more or fewer cells than the header
    cannot be read: it is not known which of its values is missing.

    Raises:
        BadValue: If the header lacks one of `columns`, or repeats a name.
        csv.Error: If a quote is not closed, which would make the rest of the answer one cell.
    """
    lines = csv.reader(io.StringIO(body), strict=True)
    header = next(lines, [])
    if missing := columns - set(header):
        raise BadValue(f"the header lacks {', '.join(sorted(missing))}")
    if len(set(header)) < len(header):
        raise BadValue("the header repeats a name")

    def parse_line(cells: Sequence[str]) -> object:
        if len(cells) != len(header):
            raise BadValue(f"{len(cells)} cells in place of {len(header)}")
        return parse_one(dict(zip(header, cells, strict=True)))

    yield from each(filter(None, lines), parse_line)

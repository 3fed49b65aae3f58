"""What the macro-economic series share: FRED's and Alpha Vantage's points, and their dates."""

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal

from ray_pipeline.jobs.spec import Json, Request, Run, Source, each
from ray_pipeline.jobs.values import day, decimal
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.providers.fred import PROVIDER as FRED

MakeRow = Callable[[date, Decimal, Json, str], object]  # day, value, the whole answer, source


def sources(
    series_id: str, function: str, make: MakeRow, *, interval: str = ""
) -> tuple[Source, ...]:
    """Return FRED, and Alpha Vantage for those without its key; both give the whole history."""

    def plan_fred(_run: Run) -> Iterator[Request]:
        params = {"series_id": series_id, "file_type": "json"}
        yield Request("", "/series/observations", params)

    def parse_fred(body: Json, _request: Request, _run: Run) -> Iterator[object]:
        """{"observations": [{"date": "2025-06-01", "value": "3.89"}, ...]}"""
        yield from each(body["observations"], lambda point: _point(point, body, make, "fred"))

    def plan_alpha_vantage(_run: Run) -> Iterator[Request]:
        params = {"function": function, "datatype": "json"}
        yield Request("", "/query", params | ({"interval": interval} if interval else {}))

    def parse_alpha_vantage(body: Json, _request: Request, _run: Run) -> Iterator[object]:
        """{"name": ..., "unit": ..., "data": [{"date": "2025-06-01", "value": "3.89"}, ...]}"""
        yield from each(body["data"], lambda point: _point(point, body, make, "alpha_vantage"))

    return (
        Source(FRED, plan_fred, parse_fred, empty=False),
        Source(ALPHA_VANTAGE, plan_alpha_vantage, parse_alpha_vantage, empty=False),
    )


def _point(point: Json, body: Json, make: MakeRow, source: str) -> object | None:
    """Return a row, None for a period without a figure: readers want a number in each."""
    moment, value = day(point["date"]), decimal(point["value"])
    if moment is None:
        raise ValueError("no date")
    return None if value is None else make(moment, value, body, source)

"""What the macro-economic series share: the requests to FRED and Alpha Vantage, and the rows."""

from collections.abc import Iterator

from ray_pipeline.errors import BadValue
from ray_pipeline.jobs._fred import PATH, STORED, observations
from ray_pipeline.jobs.spec import (
    WHOLE,
    Empty,
    Json,
    Request,
    Run,
    Source,
    check_item,
    each,
    one_call,
)
from ray_pipeline.jobs.values import day, decimal, text
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.providers.fred import PROVIDER as FRED

MONTHS = {"monthly": 1, "annual": 12}  # of an interval
# An annual series of Alpha Vantage has one interval, which is not requested.
INTERVALS = {"monthly": {"interval": "monthly"}}


def stored(table: str, value: str) -> dict[str, str]:
    """Return the input of a series: the points of FRED that are stored."""
    columns = f"'' AS item, date, {value} AS value"
    return {STORED: f"SELECT {columns} FROM {table} WHERE source = 'fred'"}  # noqa: S608 - constants


def series(
    row: type,
    fred_id: str,
    function: str,
    *,
    title: str,
    value: str,
    interval: str,
    unit: str,
    name: str,
) -> tuple[Source, ...]:
    """
    Return the sources of a series: FRED, or Alpha Vantage for users without a key of FRED.

    Each answers one request with the whole history.

    Args:
        row: The row type, with the columns date, interval_type, unit, name, source and `value`.
        fred_id: The series at FRED.
        function: The series at Alpha Vantage.
        title: The name in Alpha Vantage's answer; the answer of another series has another name.
        value: The column that holds the value.
        interval: Stored with each point, and requested from Alpha Vantage if it is monthly.
        unit: Stored if the answer names no unit.
        name: Stored if the answer has no name.
    """

    def point_of(point: Json, body: Json, source: str) -> object | None:
        # A period without a value gives no row: readers expect a number in each.
        moment, number = day(point["date"]), decimal(point["value"])
        if moment is None:
            raise BadValue("no date")
        if number is None:
            return None
        point_row: object = row(
            **{value: number},
            date=moment,
            interval_type=interval,
            # FRED's `units` is the code of a transformation: Alpha Vantage alone names the unit.
            unit=text(body.get("unit")) or unit,
            name=text(body.get("name")) or name,
            source=source,
        )
        return point_row

    def parse_fred(body: Json, _request: Request, run: Run) -> Iterator[object]:
        """{"observations": [{"date": "2025-06-01", "value": "3.89"}, ...]}"""
        points = observations(body, run, months=MONTHS[interval])
        yield from each(points, lambda point: point_of(point, body, "fred"))

    def parse_alpha_vantage(body: Json, _request: Request, _run: Run) -> Iterator[object]:
        """{"name": ..., "unit": ..., "data": [{"date": "2025-06-01", "value": "3.89"}, ...]}"""
        check_item(body.get("name"), title)
        check_item(body.get("interval"), interval)
        yield from each(body["data"], lambda point: point_of(point, body, "alpha_vantage"))

    fred = one_call(PATH, {"series_id": fred_id, "file_type": "json"})
    params = {"function": function, "datatype": "json"}
    alpha_vantage = one_call("/query", params | INTERVALS.get(interval, {}))
    return (
        Source(FRED, fred, parse_fred, empty=Empty.FAILURE, least=WHOLE),
        Source(ALPHA_VANTAGE, alpha_vantage, parse_alpha_vantage, empty=Empty.FAILURE, least=WHOLE),
    )

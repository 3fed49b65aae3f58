"""
Observations of FRED. The answer does not name its series, so it is recognised by what it has.

It echoes the units and counts its observations. Their dates show the frequency of the series. A
series of the same frequency is recognised by its values: history is not revised by half.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from itertools import pairwise

from ray_pipeline.errors import BadValue
from ray_pipeline.jobs.spec import Json, OtherItemAnswered, Record, Run
from ray_pipeline.jobs.values import at, day, decimal, elements, text, whole

PATH = "/series/observations"
UNITS = "lin"  # not transformed; another code is a change or a percent change
FEWEST_COMPARED = 12  # stored points; fewer may all have been revised
STORED = "stored"  # the input with the stored points: item, date, value

Points = Mapping[date, Decimal]


def observations(body: Json, run: Run, *, months: int, item: str = "") -> list[Json]:
    """
    Return the observations of a whole series that has one every `months` months.

    Raises:
        BadValue: If the answer is not whole, or is transformed.
        OtherItemAnswered: If the answer is another series.
    """
    listed = elements(body["observations"])
    count, units = body.get("count"), text(body.get("units"))
    if count is not None and whole(count) != len(listed):
        raise BadValue(f"{len(listed)} of {count} observations")
    if units not in {None, UNITS}:
        raise BadValue(f"the units are {units!r} instead of {UNITS!r}")
    points = dict(filter(None, map(_point, listed)))
    _check_frequency(points, months=months)
    _check_values(points, stored_points(run, item))
    return listed


def stored_points(run: Run, item: str) -> Points:
    """Return the points that earlier answers have stored."""
    return {row["date"]: row["value"] for row in run.rows(STORED) if _item(row) == item}


def _item(row: Record) -> str:
    return str(row["item"])


def _point(observation: Json) -> tuple[date, Decimal] | None:
    """Return a point; None without a value, or if it cannot be read: `parse` sets it aside."""
    try:
        moment, value = day(at(observation, "date")), decimal(at(observation, "value"))
    except BadValue:
        return None
    return None if moment is None or value is None else (moment, value)


def _check_frequency(points: Points, *, months: int) -> None:
    """Compare the usual distance of two points; single points may be missing."""
    ordinals = [moment.year * 12 + moment.month for moment in sorted(points)]
    distances = [later - first for first, later in pairwise(ordinals)]
    if 2 * distances.count(months) < len(distances):
        usual = max(distances, key=distances.count)
        raise OtherItemAnswered(
            f"a point every {months} months was requested, and the answer has one every {usual}"
        )


def _check_values(points: Points, stored: Points) -> None:
    compared = [moment for moment in stored if moment in points]
    differ = sum(points[moment] != stored[moment] for moment in compared)
    if len(compared) >= FEWEST_COMPARED and 2 * differ > len(compared):
        raise OtherItemAnswered(
            f"{differ} of {len(compared)} stored points have another value: the answer is another "
            "series, or the series has another base; in that case, delete its rows"
        )

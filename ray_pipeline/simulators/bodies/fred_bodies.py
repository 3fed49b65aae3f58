"""FRED's answers."""

from collections.abc import Mapping
from random import Random

from ray_pipeline.simulators.bodies.body import JSON, Body, Simulated, as_json, months, today

ANNUAL = frozenset({"FPCPITOTLZGUSA"})


def generate(path: str, query: Mapping[str, str], _random: Random) -> Body | None:
    """Answer /series/observations."""
    if path != "/series/observations":
        return None
    # FRED publishes annual and monthly series, and does not change their past.
    series = query.get("series_id", "")
    low, high = (250, 330) if series.startswith("CPI") else (0, 6)
    days = [day for day in months(480) if day.month == 1] if series in ANNUAL else months(120)
    points = [
        {
            "realtime_start": today().isoformat(),
            "realtime_end": today().isoformat(),
            "date": day.isoformat(),
            "value": f"{Random(f'{series} {day}').uniform(low, high):.3f}",
        }
        for day in reversed(days)
    ]
    points[3]["value"] = "."
    return as_json({"units": "lin", "count": len(points), "observations": points})


SIMULATED = Simulated(
    generate,
    rate=Body('{"error_code":429,"error_message":"Too Many Requests."}', JSON, 429),
    bad_key=Body(
        '{"error_code":400,"error_message":"Bad Request.  The value for variable api_key is '
        'not registered."}',
        JSON,
        400,
    ),
)

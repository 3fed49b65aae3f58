"""FRED's answers."""

from collections.abc import Mapping
from random import Random

from ray_pipeline.simulators.bodies.body import JSON, Body, Simulated, as_json, months, today


def generate(path: str, query: Mapping[str, str], random: Random) -> Body | None:
    """Answer /series/observations."""
    if path != "/series/observations":
        return None
    low, high = (250, 330) if query.get("series_id", "").startswith("CPI") else (0, 6)
    points = [
        {
            "realtime_start": today().isoformat(),
            "realtime_end": today().isoformat(),
            "date": day.isoformat(),
            "value": f"{random.uniform(low, high):.3f}",
        }
        for day in reversed(months(120))
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

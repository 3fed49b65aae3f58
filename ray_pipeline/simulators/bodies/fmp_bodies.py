"""Financial Modeling Prep's answers."""

from collections.abc import Mapping
from random import Random

from ray_pipeline.simulators.bodies.body import JSON, Body, Simulated, as_json, quarters, today
from ray_pipeline.simulators.bodies.sp500_members import companies


def generate(path: str, _query: Mapping[str, str], random: Random) -> Body | None:
    """Answer /sp500-constituent and /earnings-calendar."""
    if path == "/sp500-constituent":
        return as_json(
            [
                {
                    "symbol": symbol,
                    "name": name,
                    "sector": "Technology",
                    "subSector": "Software",
                    "headQuarter": "New York, New York",
                    "dateFirstAdded": "1999-01-04",
                    "cik": f"{random.randrange(10**7):010d}",
                    "founded": "1976",
                }
                for symbol, name in companies()
            ]
        )
    if path == "/earnings-calendar":
        return as_json(
            [
                {
                    "symbol": symbol,
                    "date": today().replace(day=26).isoformat(),
                    "epsActual": None,
                    "epsEstimated": round(random.uniform(0.1, 5), 2),
                    "revenueActual": None,
                    "revenueEstimated": 10**9,
                    "lastUpdated": quarters(1)[0].isoformat(),
                }
                for symbol in ("AAPL", "MSFT", "ORCL", "COST")
            ]
        )
    return None


SIMULATED = Simulated(
    generate,
    quota=Body('{"Error Message": "Limit Reach . Please upgrade your plan."}', JSON, 429),
    bad_key=Body('{"Error Message": "Invalid API KEY."}', JSON, 401),
)

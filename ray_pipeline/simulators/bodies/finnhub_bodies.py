"""Finnhub's answers."""

from collections.abc import Mapping
from random import Random

from ray_pipeline.simulators.bodies.body import JSON, Body, Simulated, as_json, headline, moments


def generate(path: str, query: Mapping[str, str], random: Random) -> Body | None:
    """Answer /news and /company-news."""
    if path == "/news":
        about, since = query.get("category", "general"), int(query.get("minId", "0") or 0)
    elif path == "/company-news":
        about, since = query.get("symbol", ""), 0
    else:
        return None
    # Not from the request's generator: the numbers of articles do not depend on `minId`.
    stable = Random(f"{path} {about} {query.get('to', '')}")
    articles = [
        {
            "category": query.get("category", "company"),
            "datetime": int(moment.timestamp()),
            "headline": headline(stable, about),
            "id": int(moment.timestamp()) % 10**8 + n,
            "image": "",
            "related": query.get("symbol", ""),
            "source": "Example",
            "summary": headline(random, about),
            "url": f"https://finnhub.example.com/{about}/{int(moment.timestamp())}-{n}",
        }
        for n, moment in enumerate(moments(stable, 8))
    ]
    return as_json([article for article in articles if int(str(article["id"])) > since])


SIMULATED = Simulated(
    generate,
    rate=Body(
        '{"error":"API limit reached. Please try again later. Remaining Limit: 0"}', JSON, 429
    ),
    bad_key=Body('{"error":"Invalid API key"}', JSON, 401),
)

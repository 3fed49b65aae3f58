"""NewsAPI's answers."""

from collections.abc import Mapping
from random import Random

from ray_pipeline.simulators.bodies.body import JSON, Body, Simulated, as_json, headline, moments


def generate(path: str, query: Mapping[str, str], random: Random) -> Body | None:
    """Answer /top-headlines and /everything."""
    if path not in {"/top-headlines", "/everything"}:
        return None
    about = query.get("q") or query.get("category") or query.get("sources", "news")
    folder = f"{path}/{about.replace(' ', '-')}"
    articles = [
        {
            "source": {"id": None, "name": "Example Times"},
            "author": None if n % 3 else "B. Writer",
            "title": headline(random, about),
            "description": headline(random, about),
            "url": f"https://newsapi.example.com{folder}/{moment:%Y%m%d}/{n}",
            "urlToImage": None,
            "publishedAt": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
            "content": "Content... [+1200 chars]",
        }
        for n, moment in enumerate(moments(random, 10))
    ]
    return as_json({"status": "ok", "totalResults": len(articles), "articles": articles})


SIMULATED = Simulated(
    generate,
    quota=Body(
        '{"status":"error","code":"rateLimited","message":"Developer accounts are limited to '
        '100 requests over a 24 hour period."}',
        JSON,
        429,
    ),
    bad_key=Body(
        '{"status":"error","code":"apiKeyInvalid","message":"Your API key is invalid."}', JSON, 401
    ),
)

"""Finnhub's and NewsAPI's answers."""

from collections.abc import Mapping
from random import Random

from ray_pipeline.simulators.bodies.body import Body, as_json, headline, moments


def finnhub(path: str, query: Mapping[str, str], random: Random) -> Body | None:
    """Answer /news and /company-news."""
    if path == "/news":
        about, since = query.get("category", "general"), int(query.get("minId", "0") or 0)
    elif path == "/company-news":
        about, since = query.get("symbol", ""), 0
    else:
        return None
    # Not from the request's generator: an article keeps its number whatever `minId` asks for.
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


def newsapi(path: str, query: Mapping[str, str], random: Random) -> Body | None:
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

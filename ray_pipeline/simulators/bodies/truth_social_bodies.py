"""Truth Social's answers."""

from collections.abc import Mapping
from datetime import datetime
from random import Random

from ray_pipeline.simulators.bodies.account_ids import account_id
from ray_pipeline.simulators.bodies.body import Body, Simulated, as_json, headline, moments


def generate(path: str, query: Mapping[str, str], random: Random) -> Body | None:
    """Answer an account's lookup and statuses, trending posts and tags."""
    parts = path.strip("/").split("/")[2:]  # after api/v1
    if parts == ["accounts", "lookup"]:
        return as_json(_account(query.get("acct", "somebody")))
    if parts[:1] == ["accounts"] and parts[2:] == ["statuses"]:
        stable = Random(f"statuses {parts[1]}")
        before = int(query.get("max_id", "0") or 0)
        posts = [_status(stable, moment, parts[1]) for moment in moments(stable, 12)]
        return as_json([post for post in posts if not before or int(str(post["id"])) < before])
    if parts == ["truth", "trending", "truths"]:
        return as_json([_status(random, moment, "trend") for moment in moments(random, 10)])
    if parts == ["trends"]:
        return as_json([_tag(random, name) for name in ("economy", "tariffs", "markets", "energy")])
    return None


def _account(name: str) -> dict[str, object]:
    return {
        "id": account_id(name),
        "username": name,
        "acct": name,
        "display_name": name,
        "verified": True,
        "followers_count": 1000,
        "statuses_count": 100,
    }


def _status(random: Random, moment: datetime, account: str) -> dict[str, object]:
    number = int(moment.timestamp() * 1000) << 16
    return {
        "id": str(number),
        "created_at": f"{moment:%Y-%m-%dT%H:%M:%S.000Z}",
        "content": f"<p>{headline(random, account)} &amp; more</p>",
        "language": "en",
        "visibility": "public",
        "sensitive": False,
        "spoiler_text": "",
        "in_reply_to_id": None,
        "quote_id": None,
        "uri": f"https://truthsocial.example.com/{number}",
        "url": f"https://truthsocial.example.com/{number}",
        "replies_count": random.randrange(100),
        "reblogs_count": random.randrange(100),
        "favourites_count": random.randrange(1000),
        "upvotes_count": random.randrange(100),
        "downvotes_count": 0,
        "media_attachments": [],
        "mentions": [],
        "tags": [],
        "card": None,
        "account": _account(account)
        | {"id": account if account.isdigit() else account_id(account)},
    }


def _tag(random: Random, name: str) -> dict[str, object]:
    history = [
        {"day": str(n), "uses": str(random.randrange(500)), "accounts": str(random.randrange(90))}
        for n in range(7)
    ]
    return {
        "name": name,
        "url": f"https://truthsocial.example.com/tags/{name}",
        "history": history,
        "recent_statuses_count": random.randrange(50),
    }


SIMULATED = Simulated(
    generate,
    without_key={"/oauth/v2/token": as_json({"access_token": "simulated", "token_type": "Bearer"})},
    recordings="truthsocial",
)

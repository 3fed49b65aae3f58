"""X's and Truth Social's answers."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from random import Random

from ray_pipeline.simulators.bodies.body import Body, as_json, headline, moments


def _id(text: str) -> str:
    return str(int(hashlib.sha256(text.lower().encode()).hexdigest()[:12], 16))


def _snowflake(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000 - 1_288_834_974_657) << 22)


def x(path: str, query: Mapping[str, str], random: Random) -> Body | None:
    """Answer /users/by, /users/by/username/{name} and /users/{id}/tweets."""
    parts = path.strip("/").split("/")
    if parts[:2] == ["users", "by"]:
        names = [parts[3]] if len(parts) > 3 else query.get("usernames", "").split(",")
        users = [
            {
                "id": _id(name),
                "name": name.title(),
                "username": name,
                "verified": True,
                "public_metrics": {"followers_count": 5, "following_count": 6, "tweet_count": 7},
            }
            for name in names
            if name
        ]
        return as_json({"data": users[0] if len(parts) > 3 else users})
    if len(parts) == 3 and parts[0] == "users" and parts[2] == "tweets":
        return _timeline(parts[1], query, random)
    return None


def _timeline(user: str, query: Mapping[str, str], random: Random) -> Body:
    stable = Random(f"timeline {user}")
    since = int(query.get("since_id", "0") or 0)
    posts = [
        {
            "id": _snowflake(moment),
            "author_id": user,
            "text": headline(stable, f"$AAPL {user}"),
            "created_at": f"{moment:%Y-%m-%dT%H:%M:%S.000Z}",
            "lang": "en",
            "edit_history_tweet_ids": [_snowflake(moment)],
            "public_metrics": {
                "retweet_count": stable.randrange(100),
                "reply_count": stable.randrange(100),
                "like_count": stable.randrange(1000),
                "quote_count": 1,
                "bookmark_count": 2,
                "impression_count": stable.randrange(10_000),
            },
            "entities": {"cashtags": [{"start": 0, "end": 5, "tag": "AAPL"}]},
        }
        for moment in moments(stable, 8)
    ]
    data = [post for post in posts if int(str(post["id"])) > since]
    meta: dict[str, object] = {"result_count": len(data)}
    if not data:
        return as_json({"meta": meta})
    author = {
        "id": user,
        "name": "Some One",
        "username": f"user{user[:4]}",
        "verified": True,
        "public_metrics": {"followers_count": 9, "following_count": 8, "tweet_count": 7},
    }
    del random
    return as_json({"data": data, "includes": {"users": [author]}, "meta": meta})


def truth_social(path: str, query: Mapping[str, str], random: Random) -> Body | None:
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
        "id": _id(name),
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
        "account": _account(account) | {"id": account if account.isdigit() else _id(account)},
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

"""X's answers."""

from collections.abc import Mapping
from datetime import datetime
from random import Random

from ray_pipeline.simulators.bodies.account_ids import account_id
from ray_pipeline.simulators.bodies.body import JSON, Body, Simulated, as_json, headline, moments


def generate(path: str, query: Mapping[str, str], _random: Random) -> Body | None:
    """Answer /users/by, /users/by/username/{name} and /users/{id}/tweets."""
    parts = path.strip("/").split("/")
    if parts[:2] == ["users", "by"]:
        names = [parts[3]] if len(parts) > 3 else query.get("usernames", "").split(",")
        users = [
            {
                "id": account_id(name),
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
        return _timeline(parts[1], query)
    return None


def _timeline(user: str, query: Mapping[str, str]) -> Body:
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
        "name": "Example Author",
        "username": f"user{user[:4]}",
        "verified": True,
        "public_metrics": {"followers_count": 9, "following_count": 8, "tweet_count": 7},
    }
    return as_json({"data": data, "includes": {"users": [author]}, "meta": meta})


def _snowflake(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000 - 1_288_834_974_657) << 22)


SIMULATED = Simulated(
    generate,
    rate=Body('{"title":"Too Many Requests","status":429}', JSON, 429),
    quota=Body(
        '{"title":"UsageCapExceeded","detail":"Usage cap exceeded: Monthly product cap",'
        '"period":"Monthly"}',
        JSON,
        429,
    ),
    bad_key=Body('{"title":"Unauthorized","status":401,"detail":"Unauthorized"}', JSON, 401),
)

"""Examples for the OpenAPI document."""

from typing import Any

from ray_pipeline.feeds.feed_registry import FEEDS

VALUE = {
    "symbol": "AAPL", "price": 129.575, "volume": 1, "pod_index": 1, "timestamp": 1672348887666,
    "source": "sp500_websocket", "event_time_ms": 1672348887666, "schema": 1,
}  # fmt: skip
RECORD = {
    "symbol": "AAPL", "price": 129.575, "volume": 1, "timestamp_ms": 1672348887666,
    "trade_conditions": ["1", "24"], "created_at": "2022-12-29T21:21:27.701Z", "pod_index": 1,
    "epoch": 7, "seq": 4711,
}  # fmt: skip
BAR = {
    "start_at": "2022-12-29T21:21:00Z", "open": 129.5, "high": 129.6, "low": 129.41,
    "close": 129.575, "volume": 1207, "trades": 18,
}  # fmt: skip
GAP = {
    "id": 12, "feed": "sp500", "shard": 3, "epoch": 7, "kind": "disconnected", "symbols": ["AAPL"],
    "from_at": "2022-12-29T21:20:00Z", "to_at": "2022-12-29T21:20:04Z",
    "cause": "the server closed the connection", "recorded_at": "2022-12-29T21:20:05Z",
}  # fmt: skip
CURSOR = "WzE2NzIzNDg4ODc2NjYsMSw3LDQ3MTFd"
HEALTH = {
    "feeds": {
        "sp500": {
            "symbols_wanted": 503, "symbols_confirmed": 503, "shards_running": 10,
            "stored": 1204311, "lag": 3, "last_record_age_s": 0.2, "gaps_24h": 1,
            "records_per_s": 412.6,
        }
    },
    "shards": [], "consumers": [], "dead_letters": [], "uncovered": [], "topics": [],
    "clients": 2,
    "simulated": [],
}  # fmt: skip
SAMPLE = {
    "at_s": 1672348887.6,
    "feeds": {"sp500": {"records_per_s": 412.6, "lag": 3, "last_record_age_s": 0.2}},
}  # fmt: skip
JOB = {
    "name": "treasury_yield", "title": "US Treasury yields", "sources": ["alpha_vantage"],
    "tables": ["treasury_yield"], "schedule": "0 6 1 * *", "zone": "UTC",
    "next": "2023-01-01T06:00:00Z",
    "last": {"state": "succeeded", "finished_at": "2022-12-01T06:00:07Z"},
}  # fmt: skip
RUN = {
    "job": "treasury_yield", "slot": "2022-12-01T06:00:00Z", "state": "succeeded", "calls": 3,
    "rows_new": 3, "why": "",
}  # fmt: skip
QUOTA = {
    "provider": "alpha_vantage", "key": "3f0c9ad271", "window": "25/day", "used": 6, "left": 19,
    "resets_at": "2022-12-30T05:00:00Z",
}  # fmt: skip
FRESH = {
    "table": "treasury_yield", "source": "treasury_yield", "kind": "job", "fresh": True,
    "collected_at": "2022-12-01T06:00:07Z", "age_s": 2400000.0,
    "why": "treasury_yield is fresh: it succeeded at 2022-12-01 06:00 UTC.",
}  # fmt: skip
DEAD_LETTER = {
    "id": 3, "feed": "bithumb", "topic": "bithumb-ticker", "partition": 0, "offset": 4711,
    "reason": "future_dated", "detail": "dated 400000 ms ahead", "state": "open", "size_bytes": 412,
}  # fmt: skip
WHY = {
    "name": "sp500", "kind": "feed", "fresh": True,
    "why": "sp500 is fresh: its newest record came 0.2 s ago, 503 of 503 symbols.",
}  # fmt: skip
ERROR = {"error": "no such feed", "fix": f"one of {', '.join(feed.name for feed in FEEDS)}"}
_ERRORS = {
    401: "The token is missing or wrong.",
    404: "The feed, symbol or job does not exist.",
    422: "A parameter is invalid.",
    503: "A store cannot be reached; `error` contains the reason. Try again later.",
}


def shows(example: object, *errors: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route: its result and its errors, with examples."""
    entries: dict[int | str, dict[str, Any]] = {200: _content("The result.", example)}
    for status in (401, *errors):
        entries[status] = _content(_ERRORS[status], ERROR)
    return entries


def _content(description: str, example: object) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"example": example}}}

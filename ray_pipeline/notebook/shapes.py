"""The columns of each frame."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from ray_pipeline.feeds.feed import Feed
from ray_pipeline.notebook.frames import Kind, Shape

TIME, NUMBER, FLOAT, WHOLE = Kind.TIME, Kind.NUMBER, Kind.FLOAT, Kind.WHOLE
TEXT, FLAG, TEXTS = Kind.TEXT, Kind.FLAG, Kind.TEXTS
EVENT_TIME = "event_time"

LATEST = Shape(
    {
        "symbol": TEXT, "feed": TEXT, EVENT_TIME: TIME, "price": NUMBER, "volume": NUMBER,
        "category": TEXT, "change_rate": NUMBER, "change_price": NUMBER,
        "acc_trade_price_24h": NUMBER,
    },
    index=("symbol",),
)  # fmt: skip
BARS = Shape(
    {
        "start_at": TIME, "open": NUMBER, "high": NUMBER, "low": NUMBER, "close": NUMBER,
        "volume": NUMBER, "trades": WHOLE,
    },
    index=("start_at",),
)  # fmt: skip
GAPS = Shape(
    {
        "recorded_at": TIME, "feed": TEXT, "shard": WHOLE, "kind": TEXT, "cause": TEXT,
        "from_at": TIME, "to_at": TIME, "symbols": TEXTS, "epoch": WHOLE, "first_seq": WHOLE,
        "last_seq": WHOLE, "id": WHOLE,
    },
    index=("recorded_at",),
)  # fmt: skip
JOBS = Shape(
    {
        "name": TEXT, "title": TEXT, "state": TEXT, "why": TEXT, "finished_at": TIME, "next": TIME,
        "schedule": TEXT, "zone": TEXT, "rows_new": WHOLE, "rows_changed": WHOLE, "items": WHOLE,
        "items_done": WHOLE, "sources": TEXTS, "tables": TEXTS,
    },
    index=("name",),
)  # fmt: skip
RUNS = Shape(
    {
        "claimed_at": TIME, "job": TEXT, "slot": TIME, "state": TEXT, "why": TEXT,
        "trigger": TEXT, "attempt": WHOLE, "started_at": TIME, "finished_at": TIME,
        "not_before": TIME, "calls": WHOLE, "rows_seen": WHOLE, "rows_new": WHOLE,
        "rows_changed": WHOLE, "rows_parked": WHOLE, "items": WHOLE, "items_done": WHOLE,
    },
    index=("claimed_at",),
)  # fmt: skip
QUOTAS = Shape(
    {
        "provider": TEXT, "key": TEXT, "window": TEXT, "used": WHOLE, "left": WHOLE,
        "resets_at": TIME, "rests_until": TIME, "reason": TEXT,
    },
    index=("provider", "key", "window"),
)  # fmt: skip
STATUS: Mapping[str, Shape] = {
    "feeds": Shape(
        {
            "feed": TEXT, "symbols_wanted": WHOLE, "symbols_confirmed": WHOLE,
            "shards_running": WHOLE, "shards_known": WHOLE, "stored": WHOLE,
            "records_per_s": FLOAT, "lag": WHOLE, "last_record_age_s": FLOAT,
            "gaps_24h": WHOLE, "redis_state": TEXT, "redis_bytes": WHOLE,
            "redis_budget_bytes": WHOLE, "redis_retention_s": FLOAT, "redis_shortened": TEXT,
        },
        index=("feed",),
    ),
    "shards": Shape(
        {
            "feed": TEXT, "shard": WHOLE, "running": FLAG, "state": TEXT, "cause": TEXT,
            "connected": FLAG, "wanted": WHOLE, "confirmed": WHOLE, "received": WHOLE,
            "published": WHOLE, "spooled": WHOLE, "reconnects": WHOLE, "last_data_age_s": FLOAT,
            "heartbeat_age_s": FLOAT, "epoch": WHOLE, "holder": TEXT,
        },
        index=("feed", "shard"),
    ),
    "consumers": Shape(
        {
            "topic": TEXT, "partition": WHOLE, "state": TEXT, "cause": TEXT, "lag": WHOLE,
            "next_offset": WHOLE, "redelivered": WHOLE, "redis_state": TEXT,
            "heartbeat_age_s": FLOAT, "holder": TEXT,
        },
        index=("topic", "partition"),
    ),
    "dead_letters": Shape(
        {"feed": TEXT, "reason": TEXT, "count": WHOLE, "newest_age_s": FLOAT},
        index=("feed", "reason"),
    ),
    "uncovered": Shape({"feed": TEXT, "why": TEXT, "symbols": TEXTS}, index=("feed",)),
    "topics": Shape(
        {
            "topic": TEXT, "feed": TEXT, "configured": WHOLE, "present": WHOLE,
            "unread_records": WHOLE, "checked_age_s": FLOAT, "trouble": TEXT, "notice": TEXT,
        },
        index=("topic",),
    ),
}  # fmt: skip


def history(spec: Feed) -> Shape:
    """Return the columns of a feed's history: the event time, then those of its records."""
    columns = {field.name: _kind(field.type) for field in msgspec.structs.fields(_record(spec))}
    return Shape({EVENT_TIME: TIME, **columns}, index=(EVENT_TIME,))


def event_column(spec: Feed) -> str:
    """Return the column of a feed's history that holds the event time in milliseconds."""
    return spec.layout.event_column


def _record(spec: Feed) -> type[Any]:
    kind: type[Any] = spec.layout.kind
    return kind


def _kind(annotation: Any) -> Kind:
    """Return the column type for a field; `None` in a union only makes the field optional."""
    # A field is T or T | None; `__args__` lists the alternatives of the latter.
    kinds: Mapping[object, Kind] = {
        str: TEXT, int: WHOLE, Decimal: NUMBER, datetime: TIME, list[str]: TEXTS,
    }  # fmt: skip
    alternatives = getattr(annotation, "__args__", ()) if annotation not in kinds else ()
    return kinds[next((kind for kind in alternatives if kind is not type(None)), annotation)]

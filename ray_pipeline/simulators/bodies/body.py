"""An answer, and what all providers' answers are made of."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent."""

    text: str
    content_type: str = JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


NOT_FOUND = Body('{"error":"not found"}', JSON, 404)


def as_json(data: object) -> Body:
    """Return data as a JSON answer."""
    return Body(json.dumps(data))


def today() -> date:
    """Return the day, UTC; generated news is always of the last days."""
    return datetime.now(UTC).date()


def moments(random: Random, count: int, *, days: float = 1.0) -> list[datetime]:
    """Return moments of the last days, newest first; the same ones all day long."""
    end = datetime.combine(today(), datetime.min.time(), UTC)
    span_s = int(days * 86_400)
    return sorted(
        (end - timedelta(seconds=random.randrange(span_s)) for _ in range(count)), reverse=True
    )


def months(count: int) -> list[date]:
    """Return the first days of the last months, newest first."""
    found: list[date] = []
    day = today().replace(day=1)
    for _ in range(count):
        day = (day - timedelta(days=1)).replace(day=1)
        found.append(day)
    return found


def quarters(count: int) -> list[date]:
    """Return the last days of the last quarters, newest first."""
    ends: list[date] = []
    day = today().replace(day=1)
    while len(ends) < count:
        day -= timedelta(days=1)
        if day.month % 3 == 0:
            ends.append(day)
        day = day.replace(day=1)
    return ends


WORDS = [
    "market",
    "shares",
    "earnings",
    "growth",
    "outlook",
    "demand",
    "supply",
    "rates",
    "inflation",
    "chips",
    "energy",
    "retail",
    "deal",
    "merger",
    "forecast",
    "record",
    "quarter",
    "profit",
    "revenue",
    "guidance",
    "analyst",
    "upgrade",
]


def headline(random: Random, about: str) -> str:
    """Return a headline."""
    return f"{about}: {' '.join(random.sample(WORDS, 5))}"

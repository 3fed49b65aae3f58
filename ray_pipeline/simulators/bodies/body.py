"""A simulated answer, and the parts from which providers' answers are made."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Body:
    """An answer."""

    text: str
    content_type: str = JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


NOT_FOUND = Body('{"error":"not found"}', JSON, 404)
TOO_MANY_REQUESTS = Body("Too Many Requests", "text/plain", 429)
UNAUTHORIZED = Body('{"error":"unauthorized"}', JSON, 401)

# Path, query, and a source of randomness; None for a path that the provider does not know.
Generate = Callable[[str, Mapping[str, str], Random], Body | None]


@dataclass(frozen=True, slots=True)
class Simulated:
    """
    How a provider is simulated.

    Attributes:
        generate: Returns the answer to a request.
        rate: The answer to a call that comes too soon.
        quota: The answer to a call past the quota of the day or month; None: as `rate`.
        bad_key: The answer to a key that is not accepted.
        without_key: The answers to paths that need no key and are not counted, such as a login.
        recordings: The folder of recorded answers; '' if it has the provider's name.
    """

    generate: Generate = lambda _path, _query, _random: None
    rate: Body = TOO_MANY_REQUESTS
    quota: Body | None = None
    bad_key: Body = UNAUTHORIZED
    without_key: Mapping[str, Body] = field(default_factory=dict)
    recordings: str = ""

    def past_quota(self) -> Body:
        """Return the answer to a call past the quota of the day or month."""
        return self.quota or self.rate


def as_json(data: object) -> Body:
    """Return data as a JSON answer."""
    return Body(json.dumps(data))


def today() -> date:
    """Return the current day in UTC."""
    return datetime.now(UTC).date()


def moments(random: Random, count: int, *, days: float = 1.0) -> list[datetime]:
    """Return moments of the last days, newest first. They change once a day only."""
    end = datetime.combine(today(), datetime.min.time(), UTC)
    span_s = int(days * 86_400)
    return sorted(
        (end - timedelta(seconds=random.randrange(span_s)) for _ in range(count)), reverse=True
    )


def months(count: int) -> list[date]:
    """Return the first days of the last months, newest first."""
    first_days: list[date] = []
    day = today().replace(day=1)
    for _ in range(count):
        day = (day - timedelta(days=1)).replace(day=1)
        first_days.append(day)
    return first_days


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


WORDS = (
    "market shares earnings growth outlook demand supply rates inflation chips energy "
    "retail deal merger forecast record quarter profit revenue guidance analyst upgrade"
).split()


def headline(random: Random, about: str) -> str:
    """Return a headline."""
    return f"{about}: {' '.join(random.sample(WORDS, 5))}"

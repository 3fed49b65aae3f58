"""Check the providers' own log of calls against their quotas."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter

from ray_pipeline.providers.quota import Window
from ray_pipeline.providers.registry import all_providers


@dataclass(frozen=True, slots=True)
class Call:
    """
    A call as the provider saw it.

    Attributes:
        monotonic_s: On a clock that is never set.
        unix_s: Since the epoch.
        provider, key: Whom, and with which key.
    """

    monotonic_s: float
    unix_s: float
    provider: str
    key: str


def read_calls(lines: Iterable[str]) -> list[Call]:
    """Return the calls of some logs, in the order of their times."""
    calls = []
    for line in lines:
        monotonic_s, unix_s, provider, key = line.split()
        calls.append(Call(float(monotonic_s), float(unix_s), provider, key))
    return sorted(calls, key=attrgetter("monotonic_s"))


def exceeded(calls: Sequence[Call]) -> list[str]:
    """Return a text for each window of a key that holds more calls than its limit."""
    windows = {provider.name: provider.quota.windows for provider in all_providers()}
    by_key: dict[tuple[str, str], list[Call]] = {}
    for call in calls:
        by_key.setdefault((call.provider, call.key), []).append(call)
    return [
        f"{provider} received {text} with the key {key}"
        for (provider, key), received in by_key.items()
        for window in windows[provider]
        for text in _too_many(window, received)
    ]


def _too_many(window: Window, calls: Sequence[Call]) -> Iterable[str]:
    if window.reset != "sliding":
        counted: dict[datetime, int] = {}
        for call in calls:
            start = window.start(datetime.fromtimestamp(call.unix_s, UTC))
            counted[start] = counted.get(start, 0) + 1
            if counted[start] == window.limit + 1:
                yield f"more than {window.limit} calls since {start}"
        return
    # The ledger's windows have a margin, see `quota.sliding`; the provider counts without it.
    period_s = round((window.period.total_seconds() - 0.2) / 1.01, 3)
    for first, last in zip(calls, calls[window.limit :], strict=False):
        if last.monotonic_s - first.monotonic_s < period_s:
            yield (
                f"{window.limit + 1} calls within {last.monotonic_s - first.monotonic_s:.3f} s "
                f"(allowed: {window.limit} in {period_s:g} s) at {last.unix_s:.3f}"
            )

"""Read from the ledger how many calls each key has made and has left."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from ray_pipeline.providers import PROVIDERS
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import Window
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.timestamps import shifted

USED_SLIDING = """
    SELECT coalesce(sum(calls), 0), min(granted_at) FROM quota_grants
    WHERE provider = %s AND key = %s AND granted_at > now() - %s
"""
USED_CALENDAR = """
    SELECT coalesce(sum(calls), 0) FROM quota_counters
    WHERE provider = %s AND key = %s AND "window" = %s AND start_at >= %s
"""
RESTING = """
    SELECT rest_until, rest_reason FROM quota_keys
    WHERE provider = %s AND key = %s AND rest_until > now()
"""


@dataclass(frozen=True, slots=True)
class QuotaRow:
    """
    One window of one key.

    Attributes:
        key: The fingerprint of the key; empty for a provider without keys.
        window: The name of the window, such as 25/day.
        used, left: Numbers of calls.
        resets_at: When a sliding window has room again, or a calendar window restarts.
        rests_until, reason: The cooldown of a refused key; the year 9999 means until it is changed.
    """

    provider: str
    key: str
    window: str
    used: int
    left: int
    resets_at: datetime | None
    rests_until: datetime | None = None
    reason: str = ""

    def as_json(self) -> dict[str, object]:
        """Return the fields as JSON shows them."""
        return asdict(self)


async def read_quotas(
    connection: Connection, keys: Mapping[str, Sequence[str]], *, speed: float = 1.0
) -> list[QuotaRow]:
    """Return every window of every key; keys are given by fingerprint."""
    rows: list[QuotaRow] = []
    for provider in PROVIDERS:
        for key in keys.get(provider.name) or ([] if provider.needs_key else [""]):
            cursor = await connection.execute(RESTING, (provider.name, key))
            resting = await cursor.fetchone() or (None, "")
            for window in provider.quota.scaled(speed).windows:
                rows.append(await _row(connection, provider, key, window, resting))
    return rows


async def _row(
    connection: Connection,
    provider: Provider,
    key: str,
    window: Window,
    resting: tuple[datetime | None, str],
) -> QuotaRow:
    now = datetime.now(UTC)
    if window.reset == "sliding":
        cursor = await connection.execute(USED_SLIDING, (provider.name, key, window.period))
        row = await cursor.fetchone()
        assert row is not None
        used, first = int(row[0]), row[1]
        resets_at = shifted(first, window.period) if first is not None else None
    else:
        cursor = await connection.execute(
            USED_CALENDAR, (provider.name, key, window.name, window.start(now))
        )
        row = await cursor.fetchone()
        assert row is not None
        used, resets_at = int(row[0]), window.end(now)
    return QuotaRow(
        provider.name, key, window.name, used, max(0, window.limit - used), resets_at, *resting
    )

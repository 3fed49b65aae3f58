"""Read from the ledger how many calls each key has made and has left."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import Window
from ray_pipeline.providers.registry import all_providers
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.storage.postgres.ledger import window_as_json
from ray_pipeline.timestamps import shifted

# Calls of the time before a restore may be missing, so the windows of that time count as used up.
RESTORED = "SELECT max(restored_at) FROM quota_restores"
USED_SLIDING = """
    SELECT coalesce(sum(calls), 0), min(coalesce(arrives_by, granted_at)), now() - %(period)s
    FROM quota_grants
    WHERE provider = %(provider)s AND key = %(key)s
        AND coalesce(arrives_by, granted_at) > now() - %(period)s
"""
USED_CALENDAR = """
    SELECT
        (SELECT coalesce(sum(calls), 0) FROM quota_counters
         WHERE provider = %(provider)s AND key = %(key)s AND "window" = %(name)s
             AND start_at = quota_window_start(%(window)s, now())),
        quota_window_end(%(window)s, now()), quota_window_start(%(window)s, now())
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
    restored_at = await _restored_at(connection)
    for provider in all_providers():
        for key in keys.get(provider.name) or ([] if provider.needs_key else [""]):
            cursor = await connection.execute(RESTING, (provider.name, key))
            resting = await cursor.fetchone() or (None, "")
            for window in provider.quota.scaled(speed).windows:
                rows.append(await _row(connection, provider, key, window, resting, restored_at))
    return rows


async def _restored_at(connection: Connection) -> datetime | None:
    row = await (await connection.execute(RESTORED)).fetchone()
    return row[0] if row else None


async def _row(
    connection: Connection,
    provider: Provider,
    key: str,
    window: Window,
    resting: tuple[datetime | None, str],
    restored_at: datetime | None,
) -> QuotaRow:
    sliding = window.reset == "sliding"
    cursor = await connection.execute(
        USED_SLIDING if sliding else USED_CALENDAR,
        {
            "provider": provider.name,
            "key": key,
            "name": window.name,
            "period": window.period,
            "window": Jsonb(window_as_json(window)),
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    used, moment, start = row
    if restored_at is not None and restored_at > start:
        used, moment = window.limit, restored_at if sliding else moment
    resets_at = shifted(moment, window.period) if sliding and moment is not None else moment
    return QuotaRow(
        provider.name, key, window.name, int(used), max(0, window.limit - int(used)), resets_at,
        *resting,
    )  # fmt: skip

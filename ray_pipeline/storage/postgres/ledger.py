"""
The ledger of calls, in Postgres: all processes and clusters with one database share one count.

The SQL function `grant_calls` decides. It holds an advisory lock for the provider until the
transaction commits, so that two callers never see the same room in a window. It tries the keys from
the least recently used on, and permits as many calls as the fullest window of a key has room for.
Sliding windows sum up the rows of `quota_grants`; calendar windows, which may span a month, have
one counter each in `quota_counters`. For a sweep the limit of a calendar window is lower by the
provider's reserve: sweeps stop there, and short jobs use the rest. If no key has room, the answer
is the earliest time at which one will have it.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from ray_pipeline.batch.permits import NotBefore, Permit
from ray_pipeline.errors import PipelineError
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import Window
from ray_pipeline.providers.registry import all_providers
from ray_pipeline.storage.postgres.connection import Connection

PERMIT = """
    SELECT granted_key, granted, wait_until, blocked_by
    FROM grant_calls(%s, %s, %s::jsonb, %s, %s, %s, %s)
"""
REST = """
    INSERT INTO quota_keys (provider, key, rest_until, rest_reason)
    VALUES (%(provider)s, %(key)s, coalesce(%(until)s, '9999-12-31'::timestamptz), %(reason)s)
    ON CONFLICT (provider, key) DO UPDATE
    SET rest_until = greatest(quota_keys.rest_until, excluded.rest_until),
        rest_reason = excluded.rest_reason
"""
# No window is longer: sliding windows have a day at most, calendar windows a month.
PRUNE = (
    "DELETE FROM quota_grants WHERE granted_at < now() - interval '2 days'",
    "DELETE FROM quota_counters WHERE start_at < now() - interval '400 days'",
)
FAR_YEAR = 9000  # the cooldown of a key that must be changed ends in the year 9999


class Ledger:
    """Permits calls. Concurrent requests for a provider wait for each other in Postgres."""

    def __init__(
        self, connection: Connection, keys: Mapping[str, Sequence[str]], *, speed: float = 1.0
    ) -> None:
        """
        Use an autocommit connection.

        Args:
            connection: A connection that only this ledger uses.
            keys: The fingerprints of the keys, by provider.
            speed: How much faster than real time the providers' clock runs, in a demo.
        """
        self._connection = connection
        self._keys = {name: list(fingerprints) for name, fingerprints in keys.items()}
        self._providers = {provider.name: provider for provider in all_providers()}
        self._speed = speed

    async def acquire(
        self,
        provider: str,
        *,
        job: str,
        sweep: bool,
        calls: int = 1,
        moment: datetime | None = None,
    ) -> Permit | NotBefore:
        """
        Return a permit for up to `calls` calls of one key, counted and committed, or when to
        request again.

        Args:
            provider: The name of the provider.
            job: The job that requests the permit; the ledger records it.
            sweep: Whether the job is a sweep, which leaves the provider's reserve to other jobs.
            calls: The largest number of calls.
            moment: The time; None for the time of the database.

        Raises:
            PipelineError: If the provider does not exist.
        """
        spec = self._provider(provider)
        keys = self._keys.get(provider) or ([] if spec.needs_key else [""])
        if not keys:
            return NotBefore(None, f"no key for {spec.title} is set")
        cursor = await self._connection.execute(
            PERMIT,
            (
                provider,
                keys,
                self._windows(spec, moment or datetime.now(UTC)),
                calls,
                job,
                spec.quota.reserve if sweep else 0.0,
                moment,
            ),
        )
        row = await cursor.fetchone()
        assert row is not None
        key, granted, until, blocked_by = row
        if granted:
            return Permit(key, granted)
        if until is None or until.year > FAR_YEAR:
            return NotBefore(None, blocked_by or "every key was refused")
        return NotBefore(until.astimezone(UTC), blocked_by or "")

    async def cooldown(
        self, provider: str, key: str, *, until: datetime | None, reason: str
    ) -> None:
        """Do not permit calls of a key until a moment; None: until the keys change."""
        await self._connection.execute(
            REST, {"provider": provider, "key": key, "until": until, "reason": reason}
        )

    async def prune(self) -> None:
        """Delete calls that are too old for every window."""
        for statement in PRUNE:
            await self._connection.execute(statement)

    def _provider(self, name: str) -> Provider:
        if name not in self._providers:
            raise PipelineError(f"no provider {name!r}", fix=f"one of {', '.join(self._providers)}")
        return self._providers[name]

    def _windows(self, provider: Provider, now: datetime) -> str:
        quota = provider.quota.scaled(self._speed)
        return json.dumps([_as_json(window, now) for window in quota.windows])


def _as_json(window: Window, now: datetime) -> dict[str, object]:
    facts: dict[str, object] = {"name": window.name, "limit": window.limit}
    if window.reset == "sliding":
        return facts | {"period_s": window.period.total_seconds()}
    return facts | {
        "start_at": window.start(now).isoformat(),
        "end_at": window.end(now).isoformat(),
    }

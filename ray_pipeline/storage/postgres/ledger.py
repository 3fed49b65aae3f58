"""The ledger of calls, in Postgres: what is granted there is counted for every cluster at once."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from ray_pipeline.batch.permits import NotBefore, Permit
from ray_pipeline.errors import PipelineError
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import Window
from ray_pipeline.providers.registry import all_providers
from ray_pipeline.storage.postgres.connection import Connection

GRANT = """
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
# A year's month windows and every sliding window are long past after this.
PRUNE = (
    "DELETE FROM quota_grants WHERE granted_at < now() - interval '2 days'",
    "DELETE FROM quota_counters WHERE start_at < now() - interval '400 days'",
)
FAR_YEAR = 9000  # a key that rests until it is changed rests until 9999


class Ledger:
    """Grants calls; the order of callers is the database's."""

    def __init__(
        self, connection: Connection, keys: Mapping[str, Sequence[str]], *, speed: float = 1.0
    ) -> None:
        """
        Use an autocommit connection.

        Args:
            connection: Of this ledger alone.
            keys: Fingerprints of the keys by provider; none for a provider that needs none.
            speed: How much faster than the real one the providers' clock runs, in a demo.
        """
        self._connection = connection
        self._keys = {name: list(some) for name, some in keys.items()}
        self._providers = {one.name: one for one in all_providers()}
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
        Return leave for up to `calls` calls of one key, counted and committed; or when to ask
        again.

        Args:
            provider: Its name.
            job: Who asks, for the ledger.
            sweep: Whether the provider's reserve is left to others.
            calls: Most calls that are wanted.
            moment: The time, where it is not the database's.

        Raises:
            PipelineError: If there is no such provider.
        """
        one = self._provider(provider)
        keys = self._keys.get(provider) or ([] if one.needs_key else [""])
        if not keys:
            return NotBefore(None, f"no key for {one.title} is set")
        cursor = await self._connection.execute(
            GRANT,
            (
                provider,
                keys,
                self._windows(one, moment or datetime.now(UTC)),
                calls,
                job,
                one.quota.reserve if sweep else 0.0,
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
        """Leave a key alone until a moment; None: until it is changed."""
        await self._connection.execute(
            REST, {"provider": provider, "key": key, "until": until, "reason": reason}
        )

    async def prune(self) -> None:
        """Forget what no window can hold any more."""
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

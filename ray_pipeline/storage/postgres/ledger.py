"""
The ledger of calls, in Postgres: all processes and clusters with one database share one count.

The SQL function `grant_calls` decides. It holds an advisory lock for the provider until the
transaction commits, so that two callers never see the same room in a window. It tries the keys from
the least recently used on, and permits as many calls as the fullest window of a key has room for.
Sliding windows sum up the rows of `quota_grants`; calendar windows, which may span a month, have
one counter each in `quota_counters`. For a sweep the limit of a calendar window is lower by the
provider's reserve: sweeps stop there, and short jobs use the rest. If no key has room, the answer
is the earliest time at which one may have it.

Only the clock of the database counts, as long as it does not jump ahead of the time that really
elapses: see the function `quota_clock_jump`. A call counts in each window in which it may arrive at
the provider: from its grant until its answer, or until ARRIVAL_S after the grant if no answer is
reported.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from ray_pipeline.batch.permits import VALID_S, NotBefore, Pause, Permit
from ray_pipeline.batch.permits import elapsed_s as _elapsed_s
from ray_pipeline.errors import PipelineError
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import Window
from ray_pipeline.providers.registry import all_providers
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.transport.http import TIMEOUT_S

PERMIT = """
    SELECT granted_key, granted_ids, wait_until, wait_s, blocked_by
    FROM grant_calls(%s, %s, %s::jsonb, %s, %s, %s, %s, %s, %s, %s, %s)
"""
FINISH = "SELECT finish_calls(%s, %s, %s, %s)"
REST = "SELECT rest_key(%s, %s, %s, %s::jsonb, %s, %s, %s)"
# No window is longer: sliding windows have a day at most, calendar windows a month.
PRUNE = (
    "DELETE FROM quota_grants WHERE granted_at < now() - interval '2 days'",
    "DELETE FROM quota_counters WHERE start_at < now() - interval '400 days'",
    # A machine that has restarted has another name.
    "DELETE FROM quota_clocks WHERE jump_s = 0 AND seen_at < now() - interval '400 days'",
)
FAR_YEAR = 9000  # the cooldown of a key that must be changed ends in the year 9999
NETWORK_S = 10.0  # a request may still be on its way when its client has given up
# The latest arrival of a call after its grant, if its permit is used in the last moment and the
# call then fails with a timeout.
ARRIVAL_S = VALID_S + TIMEOUT_S + NETWORK_S
# The largest difference between the clocks of the database and a provider around a reset.
CLOCK_S = 30.0


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
        self._machine = machine()

    async def acquire(
        self,
        provider: str,
        *,
        job: str,
        sweep: bool,
        calls: int = 1,
        key: str | None = None,
        moment: datetime | None = None,
        elapsed_s: float | None = None,
    ) -> Permit | NotBefore:
        """
        Return a permit for up to `calls` calls of one key, counted and committed, or when to
        request again.

        Args:
            provider: The name of the provider.
            job: The job that requests the permit; the ledger records it.
            sweep: Whether the job is a sweep, which leaves the provider's reserve to other jobs.
            calls: The largest number of calls.
            key: The fingerprint of the key to use; None for the least recently used one.
            moment: The time; None for the time of the database.
            elapsed_s: The time of the machine's clock for a given moment; None to trust the moment.

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
                keys if key is None else [key],
                self._windows(spec),
                calls,
                job,
                spec.quota.reserve if sweep else 0.0,
                ARRIVAL_S,
                CLOCK_S,
                self._machine,
                _elapsed_s() if moment is None else elapsed_s,
                moment,
            ),
        )
        row = await cursor.fetchone()
        assert row is not None
        granted_key, ids, until, wait_s, blocked_by = row
        if ids:
            return Permit(granted_key, len(ids), ids=tuple(ids))
        if until is None or until.year > FAR_YEAR:
            return NotBefore(None, blocked_by or "every key was refused")
        return NotBefore(until.astimezone(UTC), blocked_by or "", wait_s=wait_s)

    async def finished(self, ids: Sequence[int], *, moment: datetime | None = None) -> None:
        """
        Record that these calls have been answered, so that they leave sliding windows sooner.

        Args:
            ids: The calls.
            moment: The time; None for the time of the database.
        """
        elapsed_s = _elapsed_s() if moment is None else None
        await self._connection.execute(FINISH, (list(ids), self._machine, elapsed_s, moment))

    async def cooldown(
        self, provider: str, key: str, *, pause: Pause, reason: str
    ) -> datetime | None:
        """
        Do not permit calls of a key during a pause that begins now; return its end, None if only a
        change of the keys ends it.
        """
        seconds = pause.total_seconds() if isinstance(pause, timedelta) else None
        window = json.dumps(window_as_json(pause)) if isinstance(pause, Window) else None
        cursor = await self._connection.execute(
            REST, (provider, key, seconds, window, reason, self._machine, _elapsed_s())
        )
        row = await cursor.fetchone()
        assert row is not None
        return None if row[0].year > FAR_YEAR else row[0].astimezone(UTC)

    async def prune(self) -> None:
        """Delete calls that are too old for every window."""
        for statement in PRUNE:
            await self._connection.execute(statement)

    def _provider(self, name: str) -> Provider:
        if name not in self._providers:
            raise PipelineError(f"no provider {name!r}", fix=f"one of {', '.join(self._providers)}")
        return self._providers[name]

    def _windows(self, provider: Provider) -> str:
        quota = provider.quota.scaled(self._speed)
        return json.dumps([window_as_json(window) for window in quota.windows])


@cache
def machine() -> str:
    """Return the name of the clock of `elapsed_s`: the boot id, or an id of this process."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux
        return str(uuid.uuid4())


def window_as_json(window: Window) -> dict[str, object]:
    """Return a window as the SQL functions read it."""
    facts: dict[str, object] = {"name": window.name, "limit": window.limit}
    if window.reset == "sliding":
        return facts | {"period_s": window.period.total_seconds()}
    return facts | {"reset": window.reset, "zone": window.zone, "at": window.at.isoformat()}

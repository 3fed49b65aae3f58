"""Leases in Postgres: one row a resource, and the database's clock decides."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import LiteralString

from ray_pipeline.errors import OwnershipLost
from ray_pipeline.lease import Lease, deadline_s
from ray_pipeline.storage.postgres.database_session import DatabaseSession

# A newer generation with a recent request goes first: without the second condition the older one
# could take the lease back at once after it has handed it over.
ACQUIRE: LiteralString = """
INSERT INTO leases AS held (resource, holder, generation, epoch, expires_at)
VALUES (%(resource)s, %(holder)s, %(generation)s, 1,
        clock_timestamp() + make_interval(secs => %(ttl_s)s))
ON CONFLICT (resource) DO UPDATE
SET holder = excluded.holder,
    generation = excluded.generation,
    epoch = held.epoch + 1,
    expires_at = excluded.expires_at,
    wanted_until = CASE WHEN held.wanted_generation > excluded.generation
                        THEN held.wanted_until END
WHERE (held.holder IS NULL OR held.expires_at <= clock_timestamp())
  AND (held.wanted_generation <= excluded.generation
       OR held.wanted_until IS NULL OR held.wanted_until <= clock_timestamp())
RETURNING epoch
"""

RENEW: LiteralString = """
UPDATE leases SET expires_at = clock_timestamp() + make_interval(secs => %(ttl_s)s)
WHERE resource = %(resource)s AND holder = %(holder)s AND epoch = %(epoch)s
RETURNING epoch
"""

RELEASE: LiteralString = """
UPDATE leases SET holder = NULL, expires_at = 'epoch'
WHERE resource = %(resource)s AND holder = %(holder)s AND epoch = %(epoch)s
RETURNING epoch
"""

REQUEST: LiteralString = """
INSERT INTO leases AS held (resource, wanted_generation, wanted_until)
VALUES (%(resource)s, %(generation)s, clock_timestamp() + make_interval(secs => %(for_s)s))
ON CONFLICT (resource) DO UPDATE
SET wanted_generation = excluded.wanted_generation, wanted_until = excluded.wanted_until
WHERE held.generation < excluded.wanted_generation
  AND (held.wanted_generation <= excluded.wanted_generation
       OR held.wanted_until IS NULL OR held.wanted_until <= clock_timestamp())
RETURNING epoch
"""

REQUESTED: LiteralString = """
SELECT epoch FROM leases
WHERE resource = %(resource)s AND wanted_generation > %(generation)s
  AND wanted_until > clock_timestamp()
"""


class Leases:
    """Takes, renews and releases leases; implements `lease.LeaseStore`."""

    def __init__(self, dsn: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._session = DatabaseSession(dsn, name="ray-pipeline leases")

    async def acquire(
        self, resource: str, *, holder: str, generation: int, ttl_s: float
    ) -> Lease | None:
        """
        Take a lease that is free, expired or released; None while another holder has a right to it.

        Every success has a higher epoch than all before it, for any holder.

        Raises:
            DatabaseUnavailable: If Postgres did not answer. The lease may be taken nevertheless:
                it is free again after `ttl_s`.
        """
        requested_at_s = self._clock()
        epoch = await self._epoch(
            ACQUIRE,
            {"resource": resource, "holder": holder, "generation": generation, "ttl_s": ttl_s},
        )
        if epoch is None:
            return None
        deadline = deadline_s(requested_at_s=requested_at_s, ttl_s=ttl_s)
        return Lease(resource, holder, generation, epoch, deadline)

    async def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """
        Return the lease with a later deadline and the same epoch, also when it had expired.

        Raises:
            OwnershipLost: If another holder took it, or it was released.
            DatabaseUnavailable: If Postgres did not answer; the old deadline holds.
        """
        requested_at_s = self._clock()
        if await self._epoch(RENEW, _named(lease) | {"ttl_s": ttl_s}) is None:
            raise OwnershipLost(
                f"{lease.resource}: epoch {lease.epoch} is over, another holder took the lease"
            )
        return replace(lease, deadline_s=deadline_s(requested_at_s=requested_at_s, ttl_s=ttl_s))

    async def release(self, lease: Lease) -> None:
        """
        Release a lease; nothing happens if another holder has taken it.

        Raises:
            DatabaseUnavailable: If Postgres did not answer; the lease will expire.
        """
        await self._epoch(RELEASE, _named(lease))

    async def request(self, resource: str, *, generation: int, for_s: float) -> None:
        """
        Request a handover from an older generation. The request is valid for `for_s` seconds.

        Raises:
            DatabaseUnavailable: If Postgres did not answer.
        """
        await self._epoch(REQUEST, {"resource": resource, "generation": generation, "for_s": for_s})

    async def requested(self, lease: Lease) -> bool:
        """
        Return whether a newer generation requests the lease.

        Raises:
            DatabaseUnavailable: If Postgres did not answer.
        """
        return await self._epoch(REQUESTED, _named(lease)) is not None

    async def close(self) -> None:
        """Close the connection. Leases that are held stay held until they expire."""
        await self._session.close()

    async def _epoch(self, query: LiteralString, values: dict[str, object]) -> int | None:
        """Run a statement and return its epoch, None if no row matched."""
        async with self._session.connection() as connection:
            cursor = await connection.execute(query, values)
            row = await cursor.fetchone()
        return int(row[0]) if row else None


def _named(lease: Lease) -> dict[str, object]:
    return {
        "resource": lease.resource,
        "holder": lease.holder,
        "generation": lease.generation,
        "epoch": lease.epoch,
    }

"""Leases in Postgres: one row a resource, and the database's clock decides."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import LiteralString

import psycopg

from ray_pipeline.errors import DatabaseUnavailable, Disposition, OwnershipLost
from ray_pipeline.lease import Lease, deadline_s
from ray_pipeline.storage.postgres.connection import Connection, connect, disposition

QUERY_TIMEOUT_S = 5.0

# A newer release that asked recently goes first: without the second condition the older one could
# take back at once what it has just handed over.
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

WANTED: LiteralString = """
SELECT epoch FROM leases
WHERE resource = %(resource)s AND wanted_generation > %(generation)s
  AND wanted_until > clock_timestamp()
"""


class Leases:
    """Takes, renews and gives back leases over one connection, reopened when it breaks."""

    def __init__(self, dsn: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._dsn = dsn
        self._clock = clock
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    async def acquire(
        self, resource: str, *, holder: str, generation: int, ttl_s: float
    ) -> Lease | None:
        """
        Take a lease that is free, expired or released; None while somebody else has a right to it.

        Every success has a higher epoch than the one before, whoever held it.

        Raises:
            DatabaseUnavailable: If Postgres did not answer. The lease may be taken all the same:
                it is free again after `ttl_s`.
        """
        asked_at_s = self._clock()
        epoch = await self._epoch(
            ACQUIRE,
            {"resource": resource, "holder": holder, "generation": generation, "ttl_s": ttl_s},
        )
        if epoch is None:
            return None
        deadline = deadline_s(asked_at_s=asked_at_s, ttl_s=ttl_s)
        return Lease(resource, holder, generation, epoch, deadline)

    async def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """
        Return the lease with a later deadline and the same epoch, also when it had expired.

        Raises:
            OwnershipLost: If somebody else took it, or it was released.
            DatabaseUnavailable: If Postgres did not answer; the old deadline holds.
        """
        asked_at_s = self._clock()
        if await self._epoch(RENEW, _named(lease) | {"ttl_s": ttl_s}) is None:
            raise OwnershipLost(
                f"{lease.resource}: epoch {lease.epoch} is over, another holder took the lease"
            )
        return replace(lease, deadline_s=deadline_s(asked_at_s=asked_at_s, ttl_s=ttl_s))

    async def release(self, lease: Lease) -> None:
        """
        Give a lease back; nothing happens where it is held by somebody else by now.

        Raises:
            DatabaseUnavailable: If Postgres did not answer; the lease expires by itself.
        """
        await self._epoch(RELEASE, _named(lease))

    async def request(self, resource: str, *, generation: int, for_s: float) -> None:
        """
        Ask an older generation to hand over. The request counts for `for_s` seconds.

        Raises:
            DatabaseUnavailable: If Postgres did not answer.
        """
        await self._epoch(REQUEST, {"resource": resource, "generation": generation, "for_s": for_s})

    async def wanted(self, lease: Lease) -> bool:
        """
        Say whether a newer generation asks for the lease.

        Raises:
            DatabaseUnavailable: If Postgres did not answer.
        """
        return await self._epoch(WANTED, _named(lease)) is not None

    async def close(self) -> None:
        """Close the connection. Leases that are held stay held until they expire."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _epoch(self, query: LiteralString, values: dict[str, object]) -> int | None:
        """Run one statement and return its epoch, None where no row fits."""
        async with self._turn:
            try:
                async with asyncio.timeout(QUERY_TIMEOUT_S):
                    return await self._run(query, values)
            except (psycopg.Error, TimeoutError) as error:
                await self.close()
                if isinstance(error, psycopg.Error) and disposition(error) is not Disposition.RETRY:
                    raise
                raise DatabaseUnavailable(f"the leases cannot be reached: {error}") from error
            except asyncio.CancelledError:
                # A statement was cut off: what the connection would answer next is unknown.
                await self.close()
                raise

    async def _run(self, query: LiteralString, values: dict[str, object]) -> int | None:
        if self._connection is None:
            self._connection = await connect(self._dsn, name="ray-pipeline leases")
        cursor = await self._connection.execute(query, values)
        row = await cursor.fetchone()
        return int(row[0]) if row else None


def _named(lease: Lease) -> dict[str, object]:
    return {
        "resource": lease.resource,
        "holder": lease.holder,
        "generation": lease.generation,
        "epoch": lease.epoch,
    }


__all__ = ["Lease", "Leases"]

"""
Leases: the right to do a piece of work alone for a while.

A lease is a row in the database, and the database's clock decides who holds it. `Ownership` waits
for one lease, renews it, and reports when it is lost or when a newer generation requests it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from ray_pipeline.errors import DatabaseUnavailable, OwnershipLost

log = logging.getLogger(__name__)

# The holder stops this fraction of the time to live before the database lets the lease expire:
# clocks drift, and a record that passed the check still needs a moment to leave.
MARGIN = 0.1
RENEWALS = 3  # in a time to live: two may fail before the lease runs out
ATTEMPTS = 10  # in a time to live, while waiting for a lease or for the database
LONGEST_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Lease:
    """
    A lease as its holder knows it.

    Attributes:
        resource: The work that the lease covers, such as `producer/sp500/3`.
        holder: Name of the process that owns it, unique among all processes.
        generation: The holder's generation.
        epoch: Grows with every new holder, never with a renewal.
        deadline_s: Time on `time.monotonic` from which the holder must not act.
    """

    resource: str
    holder: str
    generation: int
    epoch: int
    deadline_s: float


def deadline_s(*, requested_at_s: float, ttl_s: float) -> float:
    """Return until when a lease that was requested at `requested_at_s` may be used."""
    return requested_at_s + ttl_s * (1 - MARGIN)


class LeaseStore(Protocol):
    """Where leases are kept; `storage.postgres.leases.Leases` has the contracts."""

    async def acquire(
        self, resource: str, *, holder: str, generation: int, ttl_s: float
    ) -> Lease | None:
        """Take a lease; None while another holder has a right to it."""

    async def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """Return the lease with a later deadline; OwnershipLost if another holder took it."""

    async def release(self, lease: Lease) -> None:
        """Give a lease back."""

    async def request(self, resource: str, *, generation: int, for_s: float) -> None:
        """Request a handover from an older generation."""

    async def requested(self, lease: Lease) -> bool:
        """Return whether a newer generation requests the lease."""

    async def close(self) -> None:
        """Disconnect. Leases that are held stay held until they expire."""


class Ownership:
    """
    One resource and one holder: `await take()`, then `hold()` during the work, then `release()`.

    A database outage longer than the time to live makes `valid()` false, but does not lose the
    lease: renewing continues, and makes it valid again if no other holder took it meanwhile.

    Attributes:
        lost: Set when another holder took the lease. The epoch is over.
        requested: Set when a newer generation requests the lease. Finish the work, then release.
        cause: Why the lease is not held or not renewed; empty while it is held.
    """

    def __init__(
        self,
        leases: LeaseStore,
        resource: str,
        *,
        holder: str,
        generation: int,
        ttl_s: float,
        random: Random,
        obstacle: Callable[[], Awaitable[str]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Prepare to own `resource`; nothing is taken yet.

        Args:
            obstacle: Returns why this process could not do the work, "" if it could. Such a process
                still takes a free lease, but it never requests a handover.
        """
        self._leases = leases
        self._resource = resource
        self._holder = holder
        self._generation = generation
        self._ttl_s = ttl_s
        self._random = random
        self._obstacle = obstacle
        self._clock = clock
        self._lease: Lease | None = None
        self.lost = asyncio.Event()
        self.requested = asyncio.Event()
        self.cause = ""

    @property
    def lease(self) -> Lease | None:
        """The lease, valid or not; None before `take` and after it was lost or released."""
        return self._lease

    def valid(self) -> bool:
        """Return whether the work may continue now. It does not query the database."""
        return self._lease is not None and self._clock() < self._lease.deadline_s

    async def take(self) -> Lease:
        """Wait until the lease is taken, through outages, and request it from older generations."""
        while True:
            try:
                lease = await self._try_take()
            except DatabaseUnavailable as error:
                self.cause = str(error)
            else:
                if lease is not None:
                    return lease
            await asyncio.sleep(self._pause_s())

    async def _try_take(self) -> Lease | None:
        self._lease = await self._leases.acquire(
            self._resource, holder=self._holder, generation=self._generation, ttl_s=self._ttl_s
        )
        if self._lease is None:
            await self._request()
            return None
        self.cause = ""
        self.lost.clear()
        self.requested.clear()
        return self._lease

    async def _request(self) -> None:
        """Request the lease from an older generation, unless the work could not be done here."""
        self.cause = f"waiting for the lease {self._resource}"
        if self._obstacle is not None and (obstacle := await self._obstacle()):
            self.cause = obstacle
            return
        await self._leases.request(self._resource, generation=self._generation, for_s=self._ttl_s)

    async def hold(self) -> None:
        """Renew the lease until it is lost, then return. An outage is waited out."""
        pause_s = self._ttl_s / RENEWALS
        while True:
            await asyncio.sleep(pause_s)
            try:
                await self._renew()
                pause_s = self._ttl_s / RENEWALS
            except DatabaseUnavailable as error:
                self.cause = str(error)
                pause_s = self._pause_s()
            except OwnershipLost as error:
                log.warning("%s", error)
                self._lease, self.cause = None, str(error)
                self.lost.set()
                return

    async def _renew(self) -> None:
        if self._lease is None:
            raise OwnershipLost(f"{self._resource}: the lease was released")
        self._lease = await self._leases.renew(self._lease, ttl_s=self._ttl_s)
        self.cause = ""
        if await self._leases.requested(self._lease):
            self.requested.set()

    async def release(self) -> None:
        """Give the lease back. If the database is away, the lease expires."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        try:
            await self._leases.release(lease)
        except DatabaseUnavailable as error:
            log.warning("the lease %s is not released and will expire: %s", self._resource, error)

    def _pause_s(self) -> float:
        """Return a random pause, so that many waiting processes do not query at the same moment."""
        longest_s = min(self._ttl_s / ATTEMPTS, LONGEST_PAUSE_S)
        return self._random.uniform(longest_s / 2, longest_s)

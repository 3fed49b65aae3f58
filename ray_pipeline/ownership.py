"""Keep a lease: wait for it, renew it, notice when it is gone or wanted by a newer release."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Protocol

from ray_pipeline.errors import DatabaseUnavailable, OwnershipLost
from ray_pipeline.lease import Lease

log = logging.getLogger(__name__)

RENEWALS = 3  # in a time to live: two may fail before the lease runs out
ATTEMPTS = 10  # in a time to live, while waiting for a lease or for the database
LONGEST_PAUSE_S = 1.0


class LeaseStore(Protocol):
    """Where leases are kept; see `storage.postgres.leases.Leases`, whose contracts hold here."""

    async def acquire(
        self, resource: str, *, holder: str, generation: int, ttl_s: float
    ) -> Lease | None:
        """Take a lease; None while somebody else has a right to it."""

    async def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """Return the lease with a later deadline; OwnershipLost if somebody took it."""

    async def release(self, lease: Lease) -> None:
        """Give a lease back."""

    async def request(self, resource: str, *, generation: int, for_s: float) -> None:
        """Ask an older generation to hand over."""

    async def wanted(self, lease: Lease) -> bool:
        """Say whether a newer generation asks for the lease."""


class Ownership:
    """
    One resource, one holder: `await take()`, then `hold()` beside the work, then `release()`.

    A database outage longer than the time to live closes `valid()`, but the lease is not lost:
    renewing goes on, and opens it again if nobody took it in the meantime.

    Attributes:
        lost: Set when somebody else has the lease. The epoch is over.
        wanted: Set when a newer release asks for it. Finish what is in hand, then release.
        cause: Why the lease is not held or not renewed; empty where it is.
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
        unfit: Callable[[], Awaitable[str]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Own nothing yet.

        Args:
            unfit: Says why the work could not be done here, "" if it could. A free lease is taken
                all the same; but who is unfit asks no older release for its place.
        """
        self._leases = leases
        self._resource = resource
        self._holder = holder
        self._generation = generation
        self._ttl_s = ttl_s
        self._random = random
        self._unfit = unfit
        self._clock = clock
        self._lease: Lease | None = None
        self.lost = asyncio.Event()
        self.wanted = asyncio.Event()
        self.cause = ""

    @property
    def lease(self) -> Lease | None:
        """The lease, valid or not; None before `take` and after it was lost or released."""
        return self._lease

    def valid(self) -> bool:
        """Say whether the work may go on now. Cheap: no question to the database."""
        return self._lease is not None and self._clock() < self._lease.deadline_s

    async def take(self) -> Lease:
        """Wait until the lease is ours, through outages, asking an older release for it."""
        while True:
            try:
                if await self._try_take():
                    break
            except DatabaseUnavailable as error:
                self.cause = str(error)
            await asyncio.sleep(self._pause_s())
        assert self._lease is not None
        return self._lease

    async def _try_take(self) -> bool:
        self._lease = await self._leases.acquire(
            self._resource, holder=self._holder, generation=self._generation, ttl_s=self._ttl_s
        )
        if self._lease is None:
            await self._ask()
            return False
        self.cause = ""
        self.lost.clear()
        self.wanted.clear()
        return True

    async def _ask(self) -> None:
        """Ask an older release for the lease, if the work would go on here."""
        self.cause = f"waiting for the lease {self._resource}"
        if self._unfit is not None and (reason := await self._unfit()):
            self.cause = reason
            return
        await self._leases.request(self._resource, generation=self._generation, for_s=self._ttl_s)

    async def hold(self) -> None:
        """Renew until the lease is lost; then return. An outage is waited out."""
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
            raise OwnershipLost(f"{self._resource}: the lease was given back")
        self._lease = await self._leases.renew(self._lease, ttl_s=self._ttl_s)
        self.cause = ""
        if await self._leases.wanted(self._lease):
            self.wanted.set()

    async def release(self) -> None:
        """Give the lease back. When the database is away, it expires by itself."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        try:
            await self._leases.release(lease)
        except DatabaseUnavailable as error:
            log.warning("the lease %s expires by itself: %s", self._resource, error)

    def _pause_s(self) -> float:
        """Spread the attempts of many waiters."""
        longest_s = min(self._ttl_s / ATTEMPTS, LONGEST_PAUSE_S)
        return self._random.uniform(longest_s / 2, longest_s)

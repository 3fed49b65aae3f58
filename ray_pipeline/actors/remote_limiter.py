"""The client of the limiter actor, for runs inside a Ray job."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import ray

from ray_pipeline.actors.limiter import NAME
from ray_pipeline.batch.permits import Limiter, NotBefore, Pause, Permit
from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.settings import load

CALL_TIMEOUT_S = 30.0


class RemoteLimiter:
    """Requests permits from the limiter actor."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def acquire(
        self, provider: str, *, job: str, sweep: bool, calls: int = 1, key: str | None = None
    ) -> Permit | NotBefore:
        """Return a permit for up to `calls` calls of one key, or when to request again."""
        reference = self._actor.acquire.remote(provider, job=job, sweep=sweep, calls=calls, key=key)
        return cast(Permit | NotBefore, await _answer(reference))

    async def finished(self, ids: Sequence[int]) -> None:
        """Record that these calls have been answered, so that they leave sliding windows sooner."""
        await _answer(self._actor.finished.remote(ids))

    async def cooldown(
        self, provider: str, key: str, *, pause: Pause, reason: str
    ) -> datetime | None:
        """Do not permit calls of a key during a pause; see `Limiter.cooldown`."""
        reference = self._actor.cooldown.remote(provider, key, pause=pause, reason=reason)
        return cast(datetime | None, await _answer(reference))


async def _answer(reference: Any) -> object:
    """
    Wait for an answer.

    Raises:
        DatabaseUnavailable: If the actor, and so the ledger, cannot be reached.
    """
    try:
        return await asyncio.wait_for(asyncio.shield(_result(reference)), CALL_TIMEOUT_S)
    except ray.exceptions.RayTaskError as error:
        raise error.as_instanceof_cause() from None  # type: ignore[no-untyped-call]
    except (ray.exceptions.RayActorError, TimeoutError) as error:
        raise DatabaseUnavailable(f"the limiter does not answer: {type(error).__name__}") from None


async def _result(reference: Any) -> object:
    return cast(object, await reference)


def connect() -> Limiter | None:
    """Join the cluster and return its limiter, None if none is running."""
    ray.init(
        namespace=load().ray.namespace,
        log_to_driver=False,
        logging_level=logging.WARNING,
        ignore_reinit_error=True,
    )
    settings = load()
    try:
        return RemoteLimiter(ray.get_actor(f"{NAME}-g{settings.ray.generation}"))
    except ValueError:
        return None


def disconnect() -> None:
    """Leave the cluster."""
    ray.shutdown()

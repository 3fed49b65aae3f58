"""Keep the desired actors alive: start the missing, replace the deaf, stop in the right order."""

import asyncio
import logging
from collections.abc import Sequence

from ray_pipeline.actors import deploy
from ray_pipeline.actors.deploy import ActorUnreachable, RayHandle
from ray_pipeline.actors.desired import Desired
from ray_pipeline.settings import Settings

log = logging.getLogger(__name__)

RECONCILE_S = 2.0
STARTED_TOGETHER = 3
START_S = 20.0
DEAF_LIMIT = 6  # unanswered questions in a row


class Supervisor:
    """Holds no data: what should run is given, what runs is asked of the cluster."""

    def __init__(self, settings: Settings, desired: Sequence[Desired]) -> None:
        self._settings = settings
        self._desired = list(desired)
        self._deaf: dict[str, int] = {}
        self._handles: dict[str, RayHandle] = {}

    async def start_all(self) -> None:
        """
        Start every actor that is missing, a few at a time.

        All at once, twenty new processes would share the cores, and none would be ready soon.
        """
        for start in range(0, len(self._desired), STARTED_TOGETHER):
            some = self._desired[start : start + STARTED_TOGETHER]
            for one in some:
                self._handles[one.name] = deploy.find(one) or deploy.start(one, self._settings)
            answers = (self._handles[one.name].call("status", timeout_s=START_S) for one in some)
            await asyncio.gather(*answers, return_exceptions=True)

    async def run(self) -> None:
        """Reconcile until cancelled."""
        while True:
            await asyncio.gather(*(self._check(one) for one in self._desired))
            await asyncio.sleep(RECONCILE_S)

    async def _check(self, one: Desired) -> None:
        handle = await asyncio.to_thread(deploy.find, one)
        if handle is None:
            log.warning("%s is missing: starting it", one.name)
            self._handles[one.name] = await asyncio.to_thread(deploy.start, one, self._settings)
            return
        self._handles[one.name] = handle
        try:
            await handle.call("status")
            self._deaf[one.name] = 0
        except ActorUnreachable as error:
            # Ray restarts what died; only what lives and does not answer is ours to end.
            self._deaf[one.name] = self._deaf.get(one.name, 0) + 1
            log.debug("%s: %s", one.name, error)
            if self._deaf[one.name] >= DEAF_LIMIT:
                log.warning("%s does not answer: ending its process", one.name)
                self._deaf[one.name] = 0
                handle.kill(restart=True)

    async def statuses(self) -> dict[str, object]:
        """Return what each actor says of itself, by name; the reason where it says nothing."""

        async def ask(name: str, handle: RayHandle) -> tuple[str, object]:
            try:
                return name, await handle.call("status")
            except ActorUnreachable as error:
                return name, {"state": "unreachable", "cause": str(error)}

        return dict(await asyncio.gather(*(ask(*pair) for pair in self._handles.items())))

    async def stop(self, kind: str, *, drain_s: float) -> list[str]:
        """Stop the actors of a kind; return the names of those that did not finish in time."""
        chosen = [one for one in self._desired if one.kind == kind]

        async def stop(one: Desired) -> str | None:
            handle = self._handles.get(one.name)
            if handle is None:
                return None
            try:
                finished = await handle.call("stop", drain_s, timeout_s=drain_s + 5)
            except ActorUnreachable as error:
                log.warning("%s: %s", one.name, error)
                finished = False
            handle.kill(restart=False)
            return None if finished else one.name

        return [name for name in await asyncio.gather(*map(stop, chosen)) if name]

"""Keep the desired actors alive: start the missing, replace the old and the deaf, stop in order."""

import asyncio
import logging
import time
from collections.abc import Sequence

import ray

from ray_pipeline.actors import ray_runtime
from ray_pipeline.actors.desired import Desired
from ray_pipeline.actors.generations import Outdated, at_work, outdated
from ray_pipeline.actors.ray_metrics import Meter
from ray_pipeline.actors.ray_runtime import ActorUnreachable, RayHandle
from ray_pipeline.observe.metrics import Sample
from ray_pipeline.settings import Settings
from ray_pipeline.storage.postgres.metrics_rows import read_metrics

log = logging.getLogger(__name__)

RECONCILE_S = 2.0
REPLACING_S = 0.5  # a release has many actors and replaces them one after the other
FIGURES_S = 10.0
STARTED_TOGETHER = 3
START_S = 20.0
DEAF_S = 30.0  # three questions whose time runs out; a restart by Ray takes less
STOPPED_S = 60.0  # whoever drains a node has ended it by then
EXCLUSIVE = {"archiver"}  # two cannot live at one time; it goes on where its manifest ends


class Supervisor:
    """
    Holds no data: what should run is given, what runs is asked of the cluster.

    So it may die at any time, and another one goes on.

    Attributes:
        statuses: What each desired actor said of itself last, by name.
        trouble: Why reconciling fails; empty where it does not.
    """

    def __init__(self, settings: Settings, desired: Sequence[Desired]) -> None:
        """Take what should run."""
        self._settings = settings
        self._desired = list(desired)
        self._useless_since_s: dict[str, float] = {}
        self._handles: dict[str, RayHandle] = {}
        self._meter: Meter | None = None
        self.statuses: dict[str, object] = {}
        self.trouble = ""
        self.reconciled_at_s = 0.0

    @property
    def names(self) -> list[str]:
        """The names of the actors that should run."""
        return [one.name for one in self._desired]

    async def run(self) -> None:
        """Reconcile until cancelled, and show figures beside it."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reconcile_for_ever())
            group.create_task(self._show_metrics())

    async def _reconcile_for_ever(self) -> None:
        while True:
            pause_s = RECONCILE_S
            try:
                if await self.reconcile():
                    pause_s = REPLACING_S
                self.trouble = ""
                self.reconciled_at_s = time.monotonic()
            except (ray.exceptions.RayError, ConnectionError, RuntimeError) as error:
                # The head is away: what runs goes on without it, and it comes back.
                self.trouble = f"Ray does not answer: {type(error).__name__}"
                log.warning("%s: %s", self.trouble, error)
            await asyncio.sleep(pause_s)

    async def reconcile(self) -> bool:
        """
        One round: start what is missing, ask all, replace what is of an older release.

        Returns:
            Whether actors of an older release were there.
        """
        living = await asyncio.to_thread(ray_runtime.living, self._settings)
        found = list(outdated(living, self._desired, generation=self._settings.ray.generation))
        for one in found:
            if one.kind in EXCLUSIVE:
                await self._retire(one)
        old = [one for one in found if one.kind not in EXCLUSIVE]
        await self._start(self._due(living, old))
        await asyncio.gather(*(self._check(one) for one in self._desired if one.name in living))
        for one in old:
            await self._retire(one)
        return bool(found)

    def _due(self, living: set[str], old: Sequence[Outdated]) -> list[Desired]:
        """Return what to start now: of those that replace an older one, only one at a time."""
        missing = [one for one in self._desired if one.name not in living]
        replacing = {one.successor.name for one in old if one.successor is not None}
        new = [one for one in missing if one.name not in replacing]
        if replacing & living:
            return new
        return new + [one for one in missing if one.name in replacing][:1]

    async def _start(self, missing: Sequence[Desired]) -> None:
        """
        Start actors, a few at a time.

        All at once, twenty new processes would share the cores, and none would be ready soon.
        """
        for start in range(0, len(missing), STARTED_TOGETHER):
            some = missing[start : start + STARTED_TOGETHER]
            for one in some:
                log.info("starting %s", one.name)
                self._handles[one.name] = await asyncio.to_thread(
                    ray_runtime.start, one, self._settings
                )
            await asyncio.gather(*(self._ask(one.name, timeout_s=START_S) for one in some))

    async def _check(self, one: Desired) -> None:
        """Ask an actor how it does, and start it anew when it is of no use for long."""
        handle = await asyncio.to_thread(ray_runtime.find, one.name, self._settings)
        if handle is None:
            return  # it died since it was listed: the next round starts it
        self._handles[one.name] = handle
        answered = await self._ask(one.name)
        if answered and not _is_stopped(self.statuses[one.name]):
            self._useless_since_s.pop(one.name, None)
            return
        # Ray restarts what died; only what lives, and is of no use, is ours to end.
        since_s = self._useless_since_s.setdefault(one.name, time.monotonic())
        if time.monotonic() - since_s >= (STOPPED_S if answered else DEAF_S):
            log.warning("%s %s: starting it anew", one.name, "rests" if answered else "is deaf")
            del self._useless_since_s[one.name]
            handle.kill(restart=True)

    async def _ask(self, name: str, *, timeout_s: float = ray_runtime.CALL_TIMEOUT_S) -> bool:
        """Keep what an actor says of itself; return whether it answered."""
        try:
            self.statuses[name] = await self._handles[name].call("status", timeout_s=timeout_s)
        except ActorUnreachable as error:
            log.debug("%s: %s", name, error)
            self.statuses[name] = {"state": "unreachable", "cause": str(error.args[0])}
            return False
        return True

    async def _retire(self, old: Outdated) -> None:
        """Stop an actor of an older release, once nothing is lost when it goes."""
        handle = await asyncio.to_thread(ray_runtime.find, old.name, self._settings)
        if handle is None:
            return
        if old.successor is not None and old.kind not in EXCLUSIVE:
            successor = self.statuses.get(old.successor.name)
            if not is_up(successor):
                return
            # Who has no key has nothing to hand over, and its successor may have none either.
            if not at_work(old.kind, successor) and not await _is_idle(handle):
                return
        log.info("retiring %s", old.name)
        await _end(old.name, handle, drain_s=self._settings.streams.drain_s)

    async def stop(self, kind: str, *, drain_s: float) -> list[str]:
        """Stop the actors of a kind; return the names of those that did not finish in time."""
        names = [one.name for one in self._desired if one.kind == kind]
        ended = await asyncio.gather(
            *(_end(name, self._handles[name], drain_s=drain_s)
              for name in names if name in self._handles)
        )  # fmt: skip
        return [name for name, finished in ended if not finished]

    async def _show_metrics(self) -> None:
        while True:
            await asyncio.sleep(FIGURES_S)
            try:
                samples = await read_metrics(self._settings)
            except Exception as error:  # Postgres is away, or has no schema yet
                log.debug("no samples: %s", error)
                samples = []
            if self._meter is None:
                self._meter = Meter(generation=self._settings.ray.generation)
                self._meter.begin(samples)
            self._meter.show([*samples, *self._ups()])

    def _ups(self) -> list[Sample]:
        return [
            Sample("pipeline_actor_up", float(is_up(self.statuses.get(name))), {"actor": name})
            for name in self.names
        ]


def is_up(status: object) -> bool:
    """Say whether a status is one that the actor itself gave."""
    return isinstance(status, dict) and status.get("state") != "unreachable"


def _is_stopped(status: object) -> bool:
    return isinstance(status, dict) and status.get("state") == "stopped"


async def _is_idle(handle: RayHandle) -> bool:
    try:
        status = await handle.call("status")
    except ActorUnreachable:
        return False
    return isinstance(status, dict) and status.get("state") == "no_key"


async def _end(name: str, handle: RayHandle, *, drain_s: float) -> tuple[str, bool]:
    """Stop an actor in order, then end its process; return whether it finished in time."""
    finished = await handle.stop(name, drain_s=drain_s)
    handle.kill(restart=False)
    return name, finished

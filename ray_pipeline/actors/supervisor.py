"""Keep the desired actors running: start missing ones, replace outdated and unresponsive ones."""

import asyncio
import logging
import time
from collections.abc import Sequence, Set

import ray

from ray_pipeline.actors import ray_runtime
from ray_pipeline.actors.desired import Desired
from ray_pipeline.actors.generations import Outdated, at_work, outdated, twin
from ray_pipeline.actors.ray_metrics import Meter
from ray_pipeline.actors.ray_runtime import ActorUnreachable, RayHandle
from ray_pipeline.actors.reconcile import EXCLUSIVE, StallClock, actors_to_start, is_up, retirement
from ray_pipeline.observe.metrics import Sample
from ray_pipeline.settings import Settings
from ray_pipeline.storage.postgres.metrics_rows import read_metrics
from ray_pipeline.storage.topic_check import check_topics

log = logging.getLogger(__name__)

RECONCILE_S = 2.0
REPLACING_S = 0.5  # a release has many actors and replaces one at a time
METRICS_S = 10.0
TOPICS_S = 10.0
START_S = 20.0


class Supervisor:
    """
    Applies the decisions of `actors.reconcile` to a Ray cluster.

    It holds no data: the desired actors are given, and the living ones are listed in each round.
    After a crash, another supervisor continues.

    Attributes:
        statuses: The last status of each desired actor, by name.
        trouble: Why reconciling fails; empty while it succeeds.
    """

    def __init__(self, settings: Settings, desired: Sequence[Desired]) -> None:
        """Take the desired actors."""
        self._settings = settings
        self._desired = list(desired)
        self._stalls = StallClock()
        self._handles: dict[str, RayHandle] = {}
        self._meter: Meter | None = None
        self.statuses: dict[str, object] = {}
        self.trouble = ""

    @property
    def names(self) -> list[str]:
        """The names of the desired actors."""
        return [actor.name for actor in self._desired]

    async def run(self) -> None:
        """Reconcile actors and topics, and export metrics, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reconcile_repeatedly())
            group.create_task(self._export_metrics())
            group.create_task(self._check_topics())

    async def _reconcile_repeatedly(self) -> None:
        while True:
            pause_s = RECONCILE_S
            try:
                if await self.reconcile():
                    pause_s = REPLACING_S
                self.trouble = ""
            except (ray.exceptions.RayError, ConnectionError, RuntimeError) as error:
                # Actors continue while the head node is down; it is restarted by other means.
                self.trouble = f"Ray does not answer: {type(error).__name__}"
                log.warning("%s: %s", self.trouble, error)
            await asyncio.sleep(pause_s)

    async def reconcile(self) -> bool:
        """
        Do one round: start missing actors, check the living ones, retire outdated ones.

        Returns:
            Whether outdated actors were found.
        """
        living = await asyncio.to_thread(ray_runtime.living, self._namespace)
        old = list(outdated(living, self._desired, generation=self._settings.ray.generation))
        replaced = [actor for actor in old if actor.kind not in EXCLUSIVE]
        # Exclusive actors end before their successors start, all others after.
        for actor in old:
            if actor.kind in EXCLUSIVE:
                await self._retire(actor)
        present = living | set(map(twin, living))
        await self._start(actors_to_start(self._desired, present, replaced=replaced))
        await asyncio.gather(
            *(self._check(actor, living) for actor in self._desired if actor.name in present)
        )
        for actor in replaced:
            await self._retire(actor)
        return bool(old)

    async def _start(self, missing: Sequence[Desired]) -> None:
        """Start actors, a few at a time."""
        for start in range(0, len(missing), ray_runtime.STARTED_TOGETHER):
            group = missing[start : start + ray_runtime.STARTED_TOGETHER]
            for actor in group:
                log.info("starting %s", actor.name)
                self._handles[actor.name] = await asyncio.to_thread(
                    ray_runtime.start, actor, self._settings
                )
            await asyncio.gather(*(self._read_status(actor.name, START_S) for actor in group))

    async def _check(self, actor: Desired, living: Set[str]) -> None:
        """
        Read an actor's status, and restart it if it did no work for too long.

        During a move to another node it lives under two names: the one that works counts. The
        other one ends, unless the move needs it for longer than it can take.
        """
        names = [name for name in (actor.name, twin(actor.name)) if name in living]
        handles = {name: handle for name in names if (handle := await self._find(name))}
        if not handles:
            return  # it died since it was listed: the next round starts it
        statuses = {name: await _status_of(name, handle) for name, handle in handles.items()}
        first, *redundant = sorted(
            handles, key=lambda name: at_work(actor.kind, statuses[name]), reverse=True
        )
        self._handles[actor.name], self.statuses[actor.name] = handles[first], statuses[first]
        now_s = time.monotonic()
        if reason := self._stalls.restart_reason(first, statuses[first], now_s=now_s):
            log.warning("%s %s: restarting it", first, reason)
            handles[first].kill(restart=True)
        for name in self._stalls.redundant(actor.name, redundant, now_s=now_s):
            log.warning("%s works as %s: ending %s", actor.name, first, name)
            await ray_runtime.end(name, handles[name], drain_s=self._settings.streams.drain_s)

    async def _read_status(self, name: str, timeout_s: float = ray_runtime.CALL_TIMEOUT_S) -> None:
        self.statuses[name] = await _status_of(name, self._handles[name], timeout_s=timeout_s)

    async def _retire(self, old: Outdated) -> None:
        """Stop an outdated actor, unless data would be lost without it."""
        handle = await self._find(old.name)
        if handle is None:
            return
        decision = retirement(old, self.statuses)
        if decision == "wait" or (decision == "if_idle" and not await _is_idle(handle)):
            return
        log.info("retiring %s", old.name)
        await ray_runtime.end(old.name, handle, drain_s=self._settings.streams.drain_s)

    async def start_missing(self, kind: str) -> None:
        """
        Start the actors of a kind that no round has started yet.

        Consumers start after producers. If a stop interrupts the first round, records of a feed
        would have no consumer.
        """
        await self._start([
            actor
            for actor in self._desired
            if actor.kind == kind and actor.name not in self._handles
        ])  # fmt: skip

    async def stop(self, kind: str, *, drain_s: float) -> list[str]:
        """Stop the actors of a kind; return the names of those that did not finish in time."""
        handles = {
            actor.name: self._handles[actor.name]
            for actor in self._desired
            if actor.kind == kind and actor.name in self._handles
        }
        finished = await asyncio.gather(
            *(ray_runtime.end(name, handle, drain_s=drain_s) for name, handle in handles.items())
        )
        return [name for name, in_time in zip(handles, finished, strict=True) if not in_time]

    async def _export_metrics(self) -> None:
        while True:
            await asyncio.sleep(METRICS_S)
            try:
                samples = await read_metrics(self._settings)
            except Exception as error:  # Postgres is down, or has no schema yet
                log.debug("no samples: %s", error)
                samples = []
            if self._meter is None:
                self._meter = Meter(generation=self._settings.ray.generation)
                # Totals in Postgres survive restarts: what was counted before must not count again.
                self._meter.begin(samples)
            ups = (
                Sample("pipeline_actor_up", float(is_up(self.statuses.get(name))), {"actor": name})
                for name in self.names
            )
            self._meter.show([*samples, *ups])

    async def _check_topics(self) -> None:
        while True:
            try:
                await check_topics(self._settings)
            except Exception as error:  # a store is away; producers and consumers report it
                log.debug("the topics were not checked: %s", error)
            await asyncio.sleep(TOPICS_S)

    async def _find(self, name: str) -> RayHandle | None:
        return await asyncio.to_thread(ray_runtime.find, name, self._namespace)

    @property
    def _namespace(self) -> str:
        return self._settings.ray.namespace


async def _status_of(
    name: str, handle: RayHandle, *, timeout_s: float = ray_runtime.CALL_TIMEOUT_S
) -> object:
    try:
        return await handle.call("status", timeout_s=timeout_s)
    except ActorUnreachable as error:
        log.debug("%s: %s", name, error)
        return {"state": "unreachable", "cause": str(error.args[0])}


async def _is_idle(handle: RayHandle) -> bool:
    try:
        status = await handle.call("status")
    except ActorUnreachable:
        return False
    return isinstance(status, dict) and status.get("state") == "no_key"

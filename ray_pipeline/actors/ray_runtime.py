"""Start or join a Ray cluster, and run plain classes there as named actors."""

import asyncio
import logging
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import ray
from ray.util import list_named_actors

from ray_pipeline.actors import local_ray
from ray_pipeline.actors.archiver import ArchiverActor
from ray_pipeline.actors.consumer import ConsumerActor
from ray_pipeline.actors.desired import Desired
from ray_pipeline.actors.limiter import LimiterActor
from ray_pipeline.actors.producer import ProducerActor
from ray_pipeline.actors.scheduler import SchedulerActor
from ray_pipeline.actors.submit import RaySubmitter, auth_mode
from ray_pipeline.batch.slot_scheduler import Submitter
from ray_pipeline.errors import Unavailable
from ray_pipeline.services.fallback_submitter import FallbackSubmitter
from ray_pipeline.services.process_submitter import ProcessSubmitter
from ray_pipeline.settings import Settings

log = logging.getLogger(__name__)

CALL_TIMEOUT_S = 10.0
STOP_MARGIN_S = 5.0  # for the call itself
# More new processes at once would share the cores, and none would be ready soon.
STARTED_TOGETHER = 3
CLASSES: Mapping[str, type] = {
    "producer": ProducerActor,
    "consumer": ConsumerActor,
    "archiver": ArchiverActor,
    "limiter": LimiterActor,
    "scheduler": SchedulerActor,
}


class ActorUnreachable(Unavailable):
    """An actor died, or does not answer."""


class RayHandle:
    """A live actor, called by its Ray handle."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def call(
        self, method: str, *arguments: object, timeout_s: float = CALL_TIMEOUT_S
    ) -> object:
        """
        Call a method and return its result.

        Raises:
            ActorUnreachable: If it died, or does not answer in time.
        """
        try:
            reference = getattr(self._actor, method).remote(*arguments)
            result = asyncio.ensure_future(_result(reference))
            # After a timeout nothing awaits the result: asyncio would log its exception as lost.
            result.add_done_callback(_ignore_failure)
            # Shielded: a timeout must not cancel the method inside the actor.
            return await asyncio.wait_for(asyncio.shield(result), timeout_s)
        except (ray.exceptions.RayActorError, TimeoutError) as error:
            raise ActorUnreachable(f"{method}: {type(error).__name__}: {error}") from error

    async def stop(self, name: str, *, drain_s: float) -> bool:
        """Let the actor flush its data and stop; return whether it finished in time."""
        try:
            return bool(await self.call("stop", drain_s, timeout_s=drain_s + STOP_MARGIN_S))
        except ActorUnreachable as error:
            log.warning("%s: %s", name, error)
            return False

    def kill(self, *, restart: bool) -> None:
        """End its process at once; with `restart` Ray restarts it."""
        ray.kill(self._actor, no_restart=not restart)


async def _result(reference: Any) -> object:
    return cast(object, await reference)


def _ignore_failure(result: "asyncio.Future[object]") -> None:
    if not result.cancelled():
        result.exception()


@dataclass(frozen=True, slots=True)
class RayConnection:
    """
    The Ray cluster that this process is in.

    Attributes:
        dashboard: The URL of its dashboard; '' without one.
        environment: The variables with which other programs on this machine join a cluster that
            this process started; empty for a cluster that it joined.
        stop: Leaves the cluster, and ends it if this process started it.
    """

    dashboard: str
    environment: Mapping[str, str]
    stop: Callable[[], None]


def start_ray(settings: Settings) -> RayConnection:
    """
    Join the cluster of RAY_ADDRESS, or start one that ends with this process.

    A cluster that is started here listens on the loopback interface only and requires the token of
    the home. A cluster that is joined follows Ray's own variables, such as RAY_AUTH_MODE.

    Raises:
        ServerError: If the cluster did not start.
    """
    # Ray reads its options from the environment, and its processes inherit them.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if shutil.which("ray-pipeline") is None:
        # Ray jobs run `ray-pipeline run NAME`: they need the virtual environment, active or not.
        programs = str(Path(sys.executable).parent)
        os.environ["PATH"] = os.pathsep.join((programs, os.environ.get("PATH", os.defpath)))
    if not os.environ.get("RAY_ADDRESS"):
        cluster = local_ray.start(settings)
        return RayConnection(cluster.dashboard, cluster.environment, stop=cluster.stop)
    context = ray.init(
        namespace=settings.ray.namespace, log_to_driver=False, logging_level=logging.WARNING
    )
    url = str(context.dashboard_url or "")
    return RayConnection(f"http://{url}" if url else "", {}, stop=ray.shutdown)


def metrics_url() -> str:
    """Return the URL of this node's metrics, for Prometheus; '' if it exports none."""
    node_id = ray.get_runtime_context().get_node_id()
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        if node["NodeID"] == node_id and node["MetricsExportPort"] > 0:
            return f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    return ""


def address() -> str:
    """Return the address at which other processes join this cluster, host:port."""
    return str(ray.get_runtime_context().gcs_address)


def submitter(settings: Settings, dashboard: str) -> Submitter:
    """Return what starts scheduled runs: Ray's Jobs API if there is one, else processes."""
    # The scheduler runs with the environment of the cluster, which may lack these settings.
    processes = ProcessSubmitter(settings.environment())
    if settings.jobs.submit == "ray" and dashboard:
        return FallbackSubmitter(RaySubmitter(dashboard), processes)
    return processes


def living(namespace: str) -> set[str]:
    """Return the names of the living actors in a namespace."""
    actors = list_named_actors(all_namespaces=True)
    return {actor["name"] for actor in actors if actor["namespace"] == namespace}


def find(name: str, namespace: str) -> RayHandle | None:
    """Return the living actor of that name, None if none lives."""
    try:
        return RayHandle(ray.get_actor(name, namespace=namespace))
    except ValueError:
        return None


async def end(name: str, handle: RayHandle, *, drain_s: float, restart: bool = False) -> bool:
    """
    Stop an actor, then end its process; return whether it finished in time.

    Args:
        name: Its name, for the log.
        handle: The actor.
        drain_s: How long it may take to publish or store what it has.
        restart: Whether Ray starts it again, on any node that accepts actors.
    """
    finished = await handle.stop(name, drain_s=drain_s)
    handle.kill(restart=restart)
    return finished


def start(desired: Desired, settings: Settings) -> RayHandle:
    """Start a named actor that outlives its creator and that Ray restarts without limit."""
    # Ray creates the methods of its handles at run time: no type describes them.
    actor: Any = ray.remote(CLASSES[desired.kind]).options(
        name=desired.name,
        namespace=settings.ray.namespace,
        lifetime="detached",
        max_restarts=-1,
        # A method is not repeated on the restarted actor: it may have had its effect already.
        max_task_retries=0,
        num_cpus=desired.num_cpus,
        # Ray's default fills one node up to half of its logical CPUs before it uses the next. The
        # actors need few of them, so one node would run all actors, run out of memory, and take all
        # feeds with it when it ends.
        scheduling_strategy="SPREAD",
        # After a crash, the next supervisor adopts the actor.
        get_if_exists=True,
        enable_task_events=False,
        runtime_env={"env_vars": auth_mode()},
    )
    return RayHandle(actor.remote(settings, *desired.arguments))

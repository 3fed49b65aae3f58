"""The only lines of Ray: start a cluster or join one, and give plain classes a process there."""

import asyncio
import hashlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import ray
from ray.util import list_named_actors

from ray_pipeline.actors.archiver import ArchiverActor
from ray_pipeline.actors.consumer import ConsumerActor
from ray_pipeline.actors.desired import Desired
from ray_pipeline.actors.limiter import LimiterActor
from ray_pipeline.actors.producer import ProducerActor
from ray_pipeline.actors.scheduler import SchedulerActor
from ray_pipeline.actors.submit import RaySubmitter
from ray_pipeline.errors import ServerError, Unavailable
from ray_pipeline.flows.schedule import Submitter
from ray_pipeline.io.submit import ProcessSubmitter
from ray_pipeline.local.process import free_port
from ray_pipeline.settings import Settings

log = logging.getLogger(__name__)

CALL_TIMEOUT_S = 10.0
STOP_MARGIN_S = 5.0  # for the way there and back
KEPT_SESSIONS = 3
CLASSES: Mapping[str, type] = {
    "producer": ProducerActor,
    "consumer": ConsumerActor,
    "archiver": ArchiverActor,
    "limiter": LimiterActor,
    "scheduler": SchedulerActor,
}


class Handle(Protocol):
    """A live actor."""

    async def call(self, method: str, *arguments: object, timeout_s: float = ...) -> object:
        """Call a method and return its answer; ActorUnreachable when there is none in time."""


class ActorUnreachable(Unavailable):
    """An actor died, or cannot be reached."""


class RayHandle:
    """A live actor, by its Ray handle."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def call(
        self, method: str, *arguments: object, timeout_s: float = CALL_TIMEOUT_S
    ) -> object:
        """
        Call a method and return its answer.

        Raises:
            ActorUnreachable: If it died, or does not answer in time.
        """
        try:
            reference = getattr(self._actor, method).remote(*arguments)
            return await asyncio.wait_for(asyncio.shield(_result(reference)), timeout_s)
        except (ray.exceptions.RayActorError, TimeoutError) as error:
            raise ActorUnreachable(f"{method}: {type(error).__name__}: {error}") from error

    async def stop(self, name: str, *, drain_s: float) -> bool:
        """Ask it to finish what it has and to end; return whether it did so in time."""
        try:
            return bool(await self.call("stop", drain_s, timeout_s=drain_s + STOP_MARGIN_S))
        except ActorUnreachable as error:
            log.warning("%s: %s", name, error)
            return False

    def kill(self, *, restart: bool) -> None:
        """End its process at once; with `restart` Ray starts it anew."""
        ray.kill(self._actor, no_restart=not restart)


async def _result(reference: Any) -> object:
    return cast(object, await reference)


def start_ray(settings: Settings, *, home: Path) -> str:
    """
    Join the cluster of RAY_ADDRESS, or start one; return the dashboard's URL, '' without one.

    A cluster that is started ends with this process. It listens at 127.0.0.1 only, and its
    authentication is off unless RAY_AUTH_MODE says otherwise: a token would have to be typed into
    the dashboard of one's own laptop.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if shutil.which("ray-pipeline") is None:
        # For `ray job submit -- ray-pipeline run NAME`, also where nobody activated the venv.
        here = str(Path(sys.executable).parent)
        os.environ["PATH"] = os.pathsep.join((here, os.environ.get("PATH", os.defpath)))
    if os.environ.get("RAY_ADDRESS"):
        context = ray.init(
            namespace=settings.ray.namespace, log_to_driver=False, logging_level=logging.WARNING
        )
    else:
        context = _start_cluster(settings, home=home)
    url = str(context.dashboard_url or "")
    return f"http://{url}" if url else ""


def _start_cluster(settings: Settings, *, home: Path) -> Any:
    # Two pipelines that start in one moment may both find the usual port free.
    for port in (free_port(8265), free_port()):
        try:
            return ray.init(
                namespace=settings.ray.namespace,
                num_cpus=int(settings.ray.num_cpus),
                object_store_memory=settings.ray.object_store_bytes,
                include_dashboard=True,
                _node_ip_address="127.0.0.1",
                dashboard_host="127.0.0.1",
                dashboard_port=port,
                _temp_dir=str(_temp_dir(home)),
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
        except Exception as error:
            ray.shutdown()
            if "dashboard" not in str(error):
                raise
            log.warning("Ray's dashboard did not start at port %d, trying another", port)
    where = _temp_dir(home)
    raise ServerError(
        "Ray's dashboard did not start", fix=f"read the newest logs/dashboard.log in {where}"
    )


def metrics_url() -> str:
    """Return where this node's figures are, for Prometheus; '' where there are none."""
    here = ray.get_runtime_context().get_node_id()
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        if node["NodeID"] == here and node["MetricsExportPort"] > 0:
            return f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    return ""


def address() -> str:
    """Return where others join the cluster that this process is in, host:port."""
    return str(ray.get_runtime_context().gcs_address)


def submitter(settings: Settings, dashboard: str) -> Submitter:
    """Return what the scheduler starts runs with: Ray's Jobs API, where there is one."""
    if settings.jobs.submit == "ray" and dashboard:
        return RaySubmitter(dashboard)
    return ProcessSubmitter()


def stop_ray() -> None:
    """Leave the cluster; one that was started here ends."""
    ray.shutdown()


def _temp_dir(home: Path) -> Path:
    """Return a directory for Ray, one a home, and short: a socket's path has 107 characters."""
    name = hashlib.sha256(str(home).encode()).hexdigest()[:8]
    path = Path(tempfile.gettempdir()) / f"rp-{os.getuid()}-{name}"
    path.mkdir(parents=True, exist_ok=True)
    # Each run leaves a directory of logs; the last few are enough to look back.
    sessions = sorted(entry for entry in path.glob("session_2*") if entry.is_dir())
    for old in sessions[:-KEPT_SESSIONS]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def living(settings: Settings) -> set[str]:
    """Return the names of the actors in the cluster that are not dead."""
    found = list_named_actors(all_namespaces=True)
    return {one["name"] for one in found if one["namespace"] == settings.ray.namespace}


def find(name: str, settings: Settings) -> RayHandle | None:
    """Return the living actor of that name, None where there is none."""
    try:
        return RayHandle(ray.get_actor(name, namespace=settings.ray.namespace))
    except ValueError:
        return None


def start(desired: Desired, settings: Settings) -> RayHandle:
    """Start a named actor that outlives its creator and is restarted for ever."""
    # Ray makes its handles' methods at run time, so that no type describes them.
    actor: Any = ray.remote(CLASSES[desired.kind]).options(
        name=desired.name,
        namespace=settings.ray.namespace,
        lifetime="detached",
        max_restarts=-1,
        max_task_retries=0,
        num_cpus=desired.num_cpus,
        get_if_exists=True,
        enable_task_events=False,
        runtime_env={"env_vars": {"RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "disabled")}},
    )
    return RayHandle(actor.remote(settings, *desired.arguments))

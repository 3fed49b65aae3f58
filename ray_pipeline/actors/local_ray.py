"""The Ray cluster that `up` and `demo` start on this machine, and how a process joins it."""

import importlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray
from ray._private.node import Node
from ray._private.parameter import RayParams
from ray._private.utils import write_ray_address

from ray_pipeline.errors import ServerError
from ray_pipeline.local import ray_access
from ray_pipeline.local.ports import HOST, Reservation, reserve
from ray_pipeline.settings import Settings

log = logging.getLogger(__name__)

# Ray's internal modules, which have no types. Ray's version is pinned, and the cluster tests cover
# every use of them.
_raylet: Any = importlib.import_module("ray._raylet")
_constants: Any = importlib.import_module("ray._private.ray_constants")

DASHBOARD_PORT = 8265
TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE")
START_ATTEMPTS = 3
KILL_S = 10.0


@dataclass(frozen=True, slots=True)
class LocalRay:
    """
    A running cluster of one node, which this process has joined.

    Attributes:
        node: Ray's head node.
        ports: The ports of the dashboard and of Ray's own metrics, held while the cluster runs.
        dashboard: The URL of the dashboard and of the Jobs API.
        environment: The variables with which other programs on this machine use the cluster.
    """

    node: Any
    ports: Reservation
    dashboard: str
    environment: Mapping[str, str]

    def stop(self) -> None:
        """Leave the cluster and end all of its processes."""
        ray.shutdown()
        self.node.kill_all_processes(check_alive=False, allow_graceful=True, wait=True)
        self.ports.release()


def start(settings: Settings) -> LocalRay:
    """
    Start a cluster and join it.

    It listens on the loopback interface only, and every request needs the token of the home. Its
    processes end when this one ends, even if it is killed.

    Raises:
        ServerError: If it does not start.
    """
    home = settings.home_dir()
    environment = ray_access.environment(home)
    use_environment(environment)
    node, ports = _start_head(settings, home)
    # Ray's jobs read the cluster's address from this file. Without it they take any cluster that
    # they detect on this machine, which may be the one of another home.
    write_ray_address(node.address, node.get_temp_dir_path())
    dashboard = f"http://{node.webui_url}"
    cluster = LocalRay(node, ports, dashboard, environment | {"RAY_API_SERVER_ADDRESS": dashboard})
    try:
        ray.init(
            address=node.address,
            namespace=settings.ray.namespace,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    except BaseException:
        cluster.stop()
        raise
    return cluster


def use_environment(variables: Mapping[str, str]) -> Callable[[], None]:
    """
    Apply these variables to the Ray library of this process; return a function that undoes it.

    Ray reads its environment when it is imported, which a notebook may have done long before.
    """
    names = {*TOKEN_VARIABLES, *variables}
    previous = {name: os.environ[name] for name in names if name in os.environ}

    def undo() -> None:
        _replace_environment(names, previous)

    _replace_environment(names, variables)
    return undo


def _replace_environment(names: set[str], variables: Mapping[str, str]) -> None:
    # Ray's core has no other way to receive a token and its mode.
    for name in names:
        os.environ.pop(name, None)
    os.environ.update(variables)
    # Reset what Ray read earlier: the mode of authentication, the token, and a node's address.
    _raylet.Config.initialize("")
    _raylet.AuthenticationTokenLoader.instance().reset_cache()
    _constants.ENABLE_RAY_CLUSTER = _constants.env_bool(
        _constants.ENABLE_RAY_CLUSTERS_ENV_VAR, not _constants.IS_WINDOWS_OR_OSX
    )


def _start_head(settings: Settings, home: Path) -> tuple[Any, Reservation]:
    # Not `ray.init()`, which cannot set the port of the job agent: the agent of a second cluster on
    # the machine would not start, and no job would run there. Not `ray start` either, which needs
    # one more process and opens a port for Ray Client.
    directory = ray_access.temp_dir(home)
    for attempt in range(1, START_ATTEMPTS + 1):
        # Held while the cluster runs, because Ray does not report when it has bound the last one.
        reservation = reserve(3, preferred=(DASHBOARD_PORT,))
        try:
            return _head(settings, directory, reservation.ports), reservation
        except Exception as error:
            reservation.release()
            _kill_unfinished(directory)
            log.warning("Ray did not start (%d of %d): %s", attempt, START_ATTEMPTS, error)
            failure = error
    raise ServerError(
        f"Ray did not start: {failure}", fix=f"read the newest logs in {directory}/session_latest"
    )


def _head(settings: Settings, directory: Path, ports: tuple[int, ...]) -> Any:
    dashboard_port, autoscaler_port, dashboard_metrics_port = ports
    parameters: dict[str, Any] = {
        "node_ip_address": HOST,
        "num_cpus": int(settings.ray.num_cpus),
        "object_store_memory": settings.ray.object_store_bytes,
        "include_dashboard": True,
        "dashboard_host": HOST,
        "dashboard_port": dashboard_port,
        "temp_dir": str(directory),
        # 0: the server binds any free port itself, so no other program can take it first.
        "gcs_server_port": 0,
        "dashboard_agent_listen_port": 0,
        # Workers and jobs inherit the environment of the raylet, and jobs read their settings.
        "env_vars": settings.environment(),
    }
    # Ray has no parameters for these two ports; it reads variables of this process.
    os.environ["AUTOSCALER_METRIC_PORT"] = str(autoscaler_port)
    os.environ["DASHBOARD_METRIC_PORT"] = str(dashboard_metrics_port)
    try:
        return Node(RayParams(**parameters), head=True, shutdown_at_exit=False, spawn_reaper=True)
    finally:
        del os.environ["AUTOSCALER_METRIC_PORT"], os.environ["DASHBOARD_METRIC_PORT"]


def _kill_unfinished(directory: Path) -> None:
    """Kill the processes of a failed start, to which Ray returns no handle."""
    processes = [
        process
        for process in psutil.Process().children(recursive=True)
        if _mentions(process, str(directory))
    ]
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=KILL_S)


def _mentions(process: psutil.Process, text: str) -> bool:
    try:
        return any(text in argument for argument in process.cmdline())
    except psutil.Error:
        return False

"""Nobody without the token can use the Ray cluster of a running demo, and nobody from elsewhere."""

import contextlib
import http.client
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from tests.cluster import other_host
from tests.cluster.other_host import OtherHost
from tests.cluster.support import Run, local_env, servers
from tests.support import eventually_sync

LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
SUBMIT_PATHS = ("/api/jobs/", "/api/job_agent/jobs/")
JOIN = (
    "import os, sys, ray; os.environ.pop('RAY_ADDRESS', None);"
    "ray.init(sys.argv[1], log_to_driver=False); print('joined')"
)


class Control(BaseHTTPRequestHandler):
    """Answers 501 to every POST, silently."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def processes(run: Run) -> list[psutil.Process]:
    """Return every process of a run: the command, what it started, the embedded servers."""
    parent = psutil.Process(run.process.pid)
    return [parent, *parent.children(recursive=True), *servers(run.home)]


def named(run: Run, name: str) -> list[psutil.Process]:
    """Return the living processes of a run that have a name; others may end while it looks."""
    matching = []
    for process in processes(run):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name() == name:
                matching.append(process)
    return matching


def listening(run: Run) -> dict[int, str]:
    """Return by port the addresses at which the processes of a run listen."""
    pids = {process.pid for process in processes(run)}
    return {
        connection.laddr.port: connection.laddr.ip
        for connection in psutil.net_connections("inet")
        if connection.pid in pids and _takes_requests(connection)
    }


def _takes_requests(connection) -> bool:
    if connection.type == socket.SOCK_DGRAM:
        return not connection.raddr  # whoever sends a datagram to it is heard
    return connection.status == psutil.CONN_LISTEN


def submit(port: int, path: str, entrypoint: str, *, token: str = "") -> int:
    """Try to have a command run by the server at a port; return its status, 0 for no HTTP."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=json.dumps({"entrypoint": entrypoint}).encode(),
        headers={"Content-Type": "application/json"}
        | ({"Authorization": f"Bearer {token}"} if token else {}),
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException):
        return 0  # gRPC, Postgres, ...


def join(address: str, **auth: str) -> subprocess.Popen:
    """Start a Python process that joins the cluster with these variables of Ray."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.Popen(
        [sys.executable, "-c", JOIN, address],
        env=plain | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"} | auth,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def joined(process: subprocess.Popen, *, timeout_s: float) -> bool:
    """Say whether the process joins within the time; it is ended in any case."""
    try:
        return "joined" in process.communicate(timeout=timeout_s)[0]
    except subprocess.TimeoutExpired:
        return False  # Ray retries without end
    finally:
        process.kill()
        process.communicate()


def which_join(
    address: str, allowed: dict[str, str], refused: Sequence[dict[str, str]]
) -> list[bool]:
    """
    Return whether the allowed variables, then each of the refused ones, join the cluster.

    All begin at once, so that the allowed process measures how long joining takes on a machine as
    busy as it is now; each refused process gets twice as long in addition.
    """
    begun_s = time.monotonic()
    processes = [join(address, **auth) for auth in (allowed, *refused)]
    answers = [joined(processes[0], timeout_s=120)]
    left_s = max(10.0, 2 * (time.monotonic() - begun_s))
    with ThreadPoolExecutor(len(refused)) as pool:
        return answers + list(
            pool.map(lambda process: joined(process, timeout_s=left_s), processes[1:])
        )


@pytest.fixture(scope="module")
def demo(start_for_module) -> Run:
    """A running demo, which these tests only look at."""
    run = start_for_module("closed", "demo")
    eventually_sync(lambda: run.stored() > 0, timeout_s=120, what="rows")
    return run


def test_a_demo_listens_on_the_loopback_and_runs_nothing_without_its_token(demo, tmp_path):
    """Whoever may submit a job runs any program as this user."""
    ports = listening(demo)
    assert named(demo, "gcs_server")
    assert named(demo, "raylet")
    assert len(ports) > 15, ports
    assert {ip for ip in ports.values() if ip not in LOOPBACK} == set()

    variables = local_env(demo)
    token = Path(variables["RAY_AUTH_TOKEN_PATH"]).read_text()
    address = json.loads((demo.home / "pipeline.json").read_text())["ray_address"]
    marker = tmp_path / "executed"
    entrypoint = f"touch {marker}"
    attempts = [(port, path) for port in ports for path in SUBMIT_PATHS]
    # Most of these servers never answer HTTP, and Ray never stops asking with a wrong token. Both
    # are waited for at the same time.
    with ThreadPoolExecutor(len(attempts) + 1) as pool:
        joins = pool.submit(
            which_join, address, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token},
            [
                {"RAY_AUTH_MODE": "disabled"},
                {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64},
            ],
        )  # fmt: skip
        statuses = pool.map(lambda attempt: submit(*attempt, entrypoint), attempts)
        answers = dict(zip(attempts, statuses, strict=True))
    assert {status for status in answers.values() if status in range(200, 400)} == set(), answers
    assert 401 in answers.values()
    assert joins.result() == [True, False, False]
    dashboard_port = int(variables["RAY_API_SERVER_ADDRESS"].rpartition(":")[2])
    assert submit(dashboard_port, "/api/jobs/", entrypoint, token="f" * 64) == 403
    assert not marker.exists()
    assert submit(dashboard_port, "/api/jobs/", entrypoint, token=token) == 200
    eventually_sync(marker.exists, timeout_s=60, what="the job with the token")


def test_the_token_and_what_ray_writes_belong_to_one_user(demo):
    """And the terminal says where the token is, without saying it into a log file."""
    variables = local_env(demo)
    token_file = Path(variables["RAY_AUTH_TOKEN_PATH"])
    sessions = {
        Path(connection.laddr).parents[1]
        for process in named(demo, "raylet")
        for connection in process.net_connections("unix")
        if connection.laddr.endswith("/sockets/raylet")
    }
    (directory,) = {session.parent for session in sessions}

    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(token_file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(directory.parent.stat().st_mode) == 0o700  # nobody else gets further
    token = token_file.read_text()
    assert len(token) == 64
    assert str(token_file) in demo.text()
    assert token not in demo.text()
    assert token not in "".join(local_env(demo).values())


@pytest.mark.skipif(not other_host.possible(), reason="only root makes network namespaces")
def test_nothing_of_a_demo_can_be_reached_from_another_host(demo):
    """A laptop is in networks of other people."""
    ports = listening(demo)
    with OtherHost(os.getpid() % 10_000) as host, HTTPServer(("0.0.0.0", 0), Control) as control:
        threading.Thread(target=control.serve_forever, daemon=True).start()
        answers = host.submit({*ports, control.server_port})
        control.shutdown()

    assert answers.pop(control.server_port) == "501", "the other host reaches this one at all"
    assert set(answers.values()) == {"ConnectionRefusedError"}, answers

"""A running demo: it requires its token, no other host reaches it, and it survives kills."""

import contextlib
import http.client
import json
import os
import re
import signal
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
from urllib.request import Request, urlopen

import psutil
import pytest

from ray_pipeline.feeds.feed_registry import FEEDS
from tests.cluster import other_host
from tests.cluster.notebook import explore
from tests.cluster.other_host import OtherHost
from tests.cluster.support import Run, actors, local_env, servers
from tests.support import eventually_sync

LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
SUBMIT_PATHS = ("/api/jobs/", "/api/job_agent/jobs/")
JOIN = (
    "import os, sys, ray; os.environ.pop('RAY_ADDRESS', None);"
    "ray.init(sys.argv[1], log_to_driver=False); print('joined')"
)


class Control(BaseHTTPRequestHandler):
    """Answers 501 to every POST, and logs nothing."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def processes(run: Run) -> list[psutil.Process]:
    """Return every process of a run: the command, its descendants and the embedded servers."""
    parent = psutil.Process(run.process.pid)
    return [parent, *parent.children(recursive=True), *servers(run.home)]


def named(run: Run, name: str) -> list[psutil.Process]:
    """Return the running processes of a run with their names; skip those that end meanwhile."""
    matching = []
    for process in processes(run):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name() == name:
                matching.append(process)
    return matching


def listening(run: Run) -> dict[int, str]:
    """Return the addresses at which the processes of a run listen, by port."""
    pids = {process.pid for process in processes(run)}
    return {
        connection.laddr.port: connection.laddr.ip
        for connection in psutil.net_connections("inet")
        if connection.pid in pids and _takes_requests(connection)
    }


def _takes_requests(connection) -> bool:
    if connection.type == socket.SOCK_DGRAM:
        return not connection.raddr  # a UDP socket receives datagrams without listening
    return connection.status == psutil.CONN_LISTEN


def submit(port: int, path: str, entrypoint: str, *, token: str = "") -> int:
    """Request the server at a port to run a command; return its status, 0 without HTTP."""
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
    """Return whether the process joins within the time; end it in any case."""
    try:
        return "joined" in process.communicate(timeout=timeout_s)[0]
    except subprocess.TimeoutExpired:
        return False  # Ray would retry forever
    finally:
        process.kill()
        process.communicate(timeout=60)


def which_join(
    address: str, allowed: dict[str, str], refused: Sequence[dict[str, str]]
) -> list[bool]:
    """
    Return whether the allowed variables, then each of the refused ones, join the cluster.

    All start at once, so that the allowed process measures the time that a join takes under the
    present load. The refused processes then get at least twice that time in addition.
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
def demo(start_for_module, tmp_path_factory) -> Run:
    """A running demo, which the tests share: its start takes longer than most of them."""
    report = tmp_path_factory.mktemp("demo") / "report.json"
    run = start_for_module("demo", "demo", "--report", str(report))
    eventually_sync(lambda: run.stored() > 0, timeout_s=120, what="rows")
    return run


def test_a_demo_listens_on_the_loopback_and_runs_nothing_without_its_token(demo, tmp_path):
    """A user who can submit a job can run any program as this user."""
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
    # Most of these servers never answer HTTP, and Ray retries a wrong token forever. Both waits run
    # at the same time.
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
    """The terminal shows where the token is, and no log file contains it."""
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
    assert stat.S_IMODE(directory.parent.stat().st_mode) == 0o700  # no other user can enter it
    token = token_file.read_text()
    assert len(token) == 64
    assert str(token_file) in demo.text()
    assert token not in demo.text()
    assert token not in "".join(local_env(demo).values())


@pytest.mark.skipif(not other_host.possible(), reason="only root makes network namespaces")
def test_nothing_of_a_demo_can_be_reached_from_another_host(demo):
    """A laptop is used in networks with unknown hosts."""
    ports = listening(demo)
    with OtherHost(os.getpid() % 10_000) as host, HTTPServer(("0.0.0.0", 0), Control) as control:
        threading.Thread(target=control.serve_forever, daemon=True).start()
        answers = host.submit({*ports, control.server_port})
        control.shutdown()

    assert answers.pop(control.server_port) == "501", "the other host reaches this one at all"
    assert set(answers.values()) == {"ConnectionRefusedError"}, answers


def test_a_demo_is_explored_survives_killed_actors_and_ends_clean_on_ctrl_c(demo, monkeypatch):
    """
    The notebook runs; then a producer and every consumer are killed and restart.

    This test ends the demo, so it is the last one of this module.
    """
    run = demo
    eventually_sync(
        lambda: len(run.stored_of_feeds()) == len(FEEDS), timeout_s=120, what="every feed's rows"
    )
    assert asked(run, "ready")["ready"]
    assert asked(run, "v1/health")["simulated"] == [
        *(feed.name for feed in FEEDS), "batch datasets",
    ]  # fmt: skip

    explore(run, monkeypatch)

    (metrics,) = re.findall(r"metrics: (http\S+)", run.text())
    eventually_sync(
        lambda: b"\nray_pipeline_records_stored_total" in urlopen(metrics, timeout=10).read(),
        timeout_s=60, what="the figures",
    )  # fmt: skip

    for kind in ("Producer", "Consumer"):
        victims = eventually_sync(lambda kind=kind: actors(run, kind), what=f"{kind} processes")
        before = run.stored()
        for victim in victims[:1] if kind == "Producer" else victims:
            victim.send_signal(signal.SIGKILL)
        eventually_sync(lambda before=before: run.stored() > before + 500, timeout_s=60)
    outages = "SELECT 1 FROM gaps WHERE feed = 'sp500'"
    eventually_sync(lambda: run.rows(outages), timeout_s=60, what="the producer's outage in gaps")
    run.interrupt()

    assert run.wait() == 0, run.text()[-3000:]
    audit = json.loads(Path(run.process.args[-1]).read_text())  # the argument of --report
    assert audit["clean"]
    assert audit["feeds"]["sp500"]["stored"] > 500
    assert audit["feeds"]["bithumb"]["stored"] > 0
    assert audit["feeds"]["top_gainers"]["stored"] > 0
    assert servers(run.home) == []
    assert "SIMULATED" in run.text()
    assert "Ray dashboard: http" in run.text()
    assert "clean: everything is explained" in run.text()


def asked(run, path: str) -> dict:
    """Return an answer of the API that the pipeline serves."""
    url, token = re.search(r"page: (http://127\S+)#token=(\S+)", run.text()).groups()
    request = Request(url + path, headers={"Authorization": f"Bearer {token}"})
    with urlopen(request, timeout=10) as answer:
        return json.load(answer)

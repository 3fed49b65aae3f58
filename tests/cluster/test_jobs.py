"""Every run, scheduled or manual, is a Ray job, and ends with its pipeline."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ray.job_submission import JobSubmissionClient

from ray_pipeline.local.ports import reserve
from tests.cluster.nodes import Node
from tests.cluster.support import COMMAND, Run, local_env
from tests.support import eventually_sync

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning")
DOCS = Path(__file__).parents[2] / "docs"


def dashboard(run: Run) -> str:
    found = eventually_sync(
        lambda: re.findall(r"Ray dashboard: (http\S+)", run.text()),
        timeout_s=90,
        what="the dashboard's address",
    )
    return found[0].rstrip(".")


def states(run: Run) -> dict[str, str]:
    return dict(run.rows("SELECT job, state FROM job_runs WHERE trigger = 'schedule'"))


def left_behind(run: Run) -> list[str]:
    """Return the processes with the home of this run in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PIPELINE_HOME") == str(run.home):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def ray_variables(run: Run) -> dict[str, str]:
    """Return the variables of Ray that `local env` prints."""
    return {name: value for name, value in local_env(run).items() if name.startswith("RAY_")}


def run_examples(run: Run, url: str) -> Iterator[tuple[str, str]]:
    """Run the `ray job` commands of the documentation unchanged; yield their output."""
    text = "\n".join(page.read_text() for page in sorted(DOCS.glob("*.md")))
    examples = re.findall(r"^    (ray job .+)$", text.replace("\\\n", " "), re.MULTILINE)
    assert len(examples) >= 4
    here = Path(sys.executable).parent
    environment = {
        "PATH": f"{here}{os.pathsep}{os.environ['PATH']}", "HOME": os.environ["HOME"],
        **ray_variables(run),
    }  # fmt: skip
    for example in examples:
        done = subprocess.run(
            ["sh", "-c", example.replace("http://localhost:8265", url)],
            capture_output=True, text=True, check=False, env=environment, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"{example}\n{done.stdout}{done.stderr}"
        yield example, done.stdout + done.stderr


@pytest.fixture
def start_jobs(start, provider, batch_provider):
    """Starts pipelines that collect a few datasets and stream over one connection per feed."""

    def starter(name: str, *jobs: str, **environment: str) -> Run:
        keys = {source: [f"key-of-{name}"] for source in ("finnhub", "alpha_vantage", "fred")}
        settings = {
            "PIPELINE_API_KEYS": json.dumps(keys),
            "PIPELINE_ARCHIVE__ENABLED": "false",
            "PIPELINE_JOBS__ENABLED": "true",
            "PIPELINE_JOBS__ONLY": json.dumps(jobs),
        }
        return start(name, "up", **(batch_provider | provider | settings | environment))

    return starter


def test_a_run_is_a_ray_job_with_its_log_and_none_outlives_ctrl_c(start_jobs):
    """Scheduled and manual runs succeed; a long run is in progress when the pipeline ends."""
    run = start_jobs("jobs", "cpi", "sp500_companies", "earnings_history")
    url = dashboard(run)
    wanted = {"cpi": "succeeded", "sp500_companies": "succeeded"}
    eventually_sync(lambda: states(run).items() >= wanted.items(), timeout_s=240, what="both runs")
    token = Path(ray_variables(run)["RAY_AUTH_TOKEN_PATH"]).read_text()
    client = JobSubmissionClient(url, headers={"Authorization": f"Bearer {token}"})

    jobs = {job.metadata["job"]: job for job in client.list_jobs() if job.metadata}
    assert set(jobs) >= set(wanted)
    for name in wanted:
        job = jobs[name]
        assert job.submission_id.startswith(f"{name}-")
        eventually_sync(lambda job=job: client.get_job_status(job.submission_id) == "SUCCEEDED")
        assert '"state": "succeeded"' in client.get_job_logs(job.submission_id)

    for example, said in run_examples(run, url):
        if "run cpi --json" in example:
            assert '"state": "nothing_new"' in said
        if "job list" in example:
            assert "ray-pipeline backfill" in said
    by_hand = "SELECT DISTINCT state FROM job_runs WHERE job = 'cpi' AND trigger = 'hand'"
    assert run.rows(by_hand) == [("nothing_new",)]
    (backfill,) = [job for job in client.list_jobs() if "backfill" in job.entrypoint]
    eventually_sync(
        lambda: client.get_job_status(backfill.submission_id) == "SUCCEEDED",
        timeout_s=120, what="the backfill",
    )  # fmt: skip
    status = subprocess.run(
        [*COMMAND, "status", "--json"],
        env={**run.environment, **local_env(run)}, capture_output=True, text=True, check=True,
        timeout=120,
    )  # fmt: skip
    assert json.loads(status.stdout)["jobs"]["cpi"]["state"] == "nothing_new"

    # 503 companies, two pages each, two calls per second: the run takes eight minutes.
    eventually_sync(
        lambda: run.rows(
            "SELECT 1 FROM job_runs WHERE job = 'earnings_history' AND state = 'running'"
            " AND items_done > 0"
        ),
        timeout_s=120,
        what="a sweep at work",
    )
    run.process.send_signal(signal.SIGINT)

    assert run.wait() == 0, run.text()[-3000:]
    eventually_sync(lambda: not left_behind(run), timeout_s=15, what=f"an end: {left_behind(run)}")


def test_two_homes_collect_batch_datasets_side_by_side(start_jobs):
    """Each cluster has its own job agent, because no port of Ray is fixed."""
    runs = [start_jobs(name, "cpi") for name in ("left", "right")]

    for run in runs:
        eventually_sync(
            lambda run=run: states(run) == {"cpi": "succeeded"}, timeout_s=300, what=run.home.name
        )
        assert run.rows("SELECT count(*) FROM cpi")[0][0] > 0
        assert run.rows("SELECT detail FROM findings WHERE \"check\" = 'start'") == []
    agents = [ray_variables(run)["RAY_API_SERVER_ADDRESS"] for run in runs]
    assert len(set(agents)) == 2
    for run in runs:
        listed = subprocess.run(
            [str(Path(sys.executable).with_name("ray")), "job", "list"],
            env={"PATH": os.environ["PATH"], **ray_variables(run)},
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert listed.returncode == 0, listed.stdout + listed.stderr
        assert "submission_id='cpi-" in listed.stdout


def test_without_a_job_agent_runs_are_processes_and_say_so(start_jobs, tmp_path):
    """Another program uses the agent's port, so the cluster cannot start any Ray job."""
    with (
        socket.create_server(("0.0.0.0", 0)) as taken,
        reserve(2) as ports,
        # A short path: the path of a socket has at most 107 characters.
        tempfile.TemporaryDirectory(prefix="rp-", ignore_cleanup_errors=True) as directory,
    ):
        port, dashboard_port = ports.ports
        node = Node(
            "--head", "--port", str(port), "--num-cpus", "8", "--temp-dir", directory,
            "--dashboard-port", str(dashboard_port), "--include-dashboard", "true",
            "--dashboard-agent-listen-port", str(taken.getsockname()[1]),
            environment=dict(os.environ), log=tmp_path / "node.log",
        )  # fmt: skip
        try:
            node.started()
            run = start_jobs("agentless", "cpi", RAY_ADDRESS=f"127.0.0.1:{port}")
            eventually_sync(
                lambda: states(run) == {"cpi": "succeeded"}, timeout_s=240, what="the run"
            )
            ((remark,),) = run.rows("SELECT detail FROM findings WHERE \"check\" = 'start'")
            assert remark.startswith("started as a process: Ray's job agent is unavailable")
            run.interrupt()
            assert run.wait() == 0, run.text()[-3000:]
            eventually_sync(lambda: not left_behind(run), what=f"an end: {left_behind(run)}")
        finally:
            node.kill()

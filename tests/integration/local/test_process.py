"""A process outlives its parent, can be reattached, and is never confused with another one."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from ray_pipeline.errors import ServerError
from ray_pipeline.local.process import ServerProcess, identify, is_alive
from tests.support import eventually_sync

SHELL = "/bin/sh"
ONLY_A_THREAD_IS_LEFT = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.fixture
def process(tmp_path):
    process = ServerProcess("sleeper", log=tmp_path / "logs" / "sleeper.log")
    yield process
    process.kill()


def test_a_stopped_process_is_gone(process):
    process.spawn([SHELL, "-c", "exec sleep 60"])
    pid = process.identity.pid

    process.stop()

    assert not psutil.pid_exists(pid)
    assert not process.running


def test_a_process_that_ignores_the_signal_is_killed(process):
    process.spawn([SHELL, "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"])
    eventually_sync(process.log.read_text, what="the trap")
    pid = process.identity.pid

    process.stop(timeout_s=0.2)

    assert not psutil.pid_exists(pid)


def test_a_kill_ends_the_children_too(process):
    """Also children in a session of their own, as Postgres' backends are."""
    process.spawn([SHELL, "-c", "setsid sleep 60 & sleep 60"])
    tree = psutil.Process(process.identity.pid)
    children = eventually_sync(
        lambda: pair if len(pair := tree.children(recursive=True)) == 2 else None,
        what="two children",
    )

    process.kill()

    assert not any(child.is_running() and child.status() != "zombie" for child in children)


def test_a_process_is_alive_until_its_last_thread_has_ended(process):
    """Its sockets are open until then, though its main thread is a zombie."""
    process.spawn([sys.executable, "-c", ONLY_A_THREAD_IS_LEFT])
    main = psutil.Process(process.identity.pid)
    eventually_sync(lambda: main.status() == psutil.STATUS_ZOMBIE, what="the main thread's end")

    assert process.running

    process.kill()
    assert not process.running


def test_a_paused_process_can_be_stopped(process):
    process.spawn([SHELL, "-c", "exec sleep 60"])
    process.pause()
    frozen = psutil.Process(process.identity.pid)
    eventually_sync(lambda: frozen.status() == psutil.STATUS_STOPPED, what="it to be frozen")

    process.stop(timeout_s=5.0)

    assert not process.running


def test_ctrl_c_in_the_terminal_does_not_reach_it(process):
    process.spawn([SHELL, "-c", "exec sleep 60"])

    assert os.getsid(process.identity.pid) != os.getsid(0)


def test_a_process_outlives_the_one_that_started_it(tmp_path):
    script = (
        "from pathlib import Path\n"
        "from ray_pipeline.local.process import ServerProcess\n"
        f"process = ServerProcess('orphan', log=Path({str(tmp_path / 'log')!r}))\n"
        "process.spawn(['/bin/sh', '-c', 'exec sleep 60'])\n"
        "print(process.identity.pid)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, timeout=120
    )

    orphan = ServerProcess("orphan", log=tmp_path / "log", identity=identify(int(done.stdout)))

    assert orphan.running
    orphan.stop()
    assert not orphan.running


def test_another_process_with_the_same_pid_is_left_alone(process):
    """After a reboot, any process may have the recorded pid."""
    process.spawn([SHELL, "-c", "exec sleep 60"])
    earlier = replace(process.identity, started_s=process.identity.started_s - 100.0)

    ServerProcess("earlier", log=process.log, identity=earlier).stop()

    assert not is_alive(earlier)
    assert process.running


def test_a_process_that_ends_while_starting_is_quoted(process):
    process.spawn([SHELL, "-c", "echo the disk is full; exit 3"])

    with pytest.raises(
        ServerError, match=r"ended while starting(.|\n)*\| the disk is full"
    ) as caught:
        process.wait_ready(_never, timeout_s=10.0)

    assert str(process.log) in caught.value.fix


def test_a_process_that_never_answers_is_an_error(process):
    process.spawn([SHELL, "-c", "echo thinking; exec sleep 60"])

    with pytest.raises(ServerError, match=r"did not answer within 0\.2 s \(OSError: not yet\)"):
        process.wait_ready(_never, timeout_s=0.2)


def test_a_missing_program_is_an_error(process):
    with pytest.raises(ServerError, match="cannot be executed"):
        process.spawn(["/no/such/program"])


def test_a_process_that_another_program_killed_is_not_running(process):
    process.spawn([SHELL, "-c", "exec sleep 60"])

    os.kill(process.identity.pid, signal.SIGKILL)

    eventually_sync(lambda: not process.running, timeout_s=5.0, what="the end")


def _never() -> None:
    raise OSError("not yet")

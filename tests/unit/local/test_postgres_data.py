"""Postgres' files: the path of the socket, and the lock that a dead server left."""

import os
from pathlib import Path

import psutil
import pytest

from ray_pipeline.local.postgres_data import SOCKET_PATH_LIMIT, remove_stale_lock, socket_dir


@pytest.fixture
def lock(tmp_path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "postmaster.pid"


def ended_pid() -> int:
    return max(psutil.pids()) + 100_000


def test_a_socket_is_in_the_directory_of_the_server():
    assert socket_dir(Path("/home/ann/rp/postgres")) == Path("/home/ann/rp/postgres/socket")


def test_a_socket_of_a_home_with_a_long_path_is_in_a_temporary_folder(tmp_path):
    """The kernel refuses longer paths."""
    deep = tmp_path / ("x" * 100)

    assert len(str(socket_dir(deep) / ".s.PGSQL.31999")) < SOCKET_PATH_LIMIT
    assert socket_dir(deep) == socket_dir(deep)
    assert socket_dir(deep) != socket_dir(tmp_path / ("y" * 100))


@pytest.mark.parametrize("pid", [os.getpid(), ended_pid()], ids=["another-program", "ended"])
def test_a_lock_without_its_server_is_removed(tmp_path, lock, pid):
    lock.write_text(f"{pid}\n{tmp_path}\n")

    remove_stale_lock(tmp_path)

    assert not lock.exists()


@pytest.mark.parametrize("text", ["", "not a pid"])
def test_a_lock_that_cannot_be_read_is_left_to_postgres(tmp_path, lock, text):
    lock.write_text(text)

    remove_stale_lock(tmp_path)

    assert lock.read_text() == text


def test_data_without_a_lock_is_left_alone(tmp_path, lock):
    remove_stale_lock(tmp_path)

    assert list(lock.parent.iterdir()) == []

"""The recorded servers of a home, and its locks."""

import multiprocessing
import os
from pathlib import Path

import pytest

from ray_pipeline.errors import ServerError
from ray_pipeline.local.state import ServerRecord, locked, read_state, write_state

RECORDS = {"tansu": ServerRecord(port=20_001, pid=7, started_s=1.5)}


def test_a_home_without_a_state_file_has_no_servers(tmp_path):
    assert read_state(tmp_path) == {}


def test_written_records_are_read_back(tmp_path):
    write_state(tmp_path, RECORDS)

    assert read_state(tmp_path) == RECORDS


@pytest.mark.parametrize("text", ["", "[]", '{"tansu": 1}', '{"tansu": {"prot": 1}}'])
def test_a_broken_state_is_an_error_with_its_path(tmp_path, text):
    """To ignore it could leave a server running that no program can find again."""
    (tmp_path / "state.json").write_text(text)

    with pytest.raises(ServerError, match=r"state\.json cannot be read"):
        read_state(tmp_path)


def test_the_error_of_a_second_holder_has_the_pid_of_the_first(tmp_path):
    with locked(tmp_path, "stack", doing="running a pipeline"):
        error = _in_another_process(tmp_path)

    assert f"the process with pid {os.getpid()} is running a pipeline in {tmp_path}" in error


def test_two_homes_have_separate_locks(tmp_path):
    with locked(tmp_path / "one", "stack", doing="running"):
        assert _in_another_process(tmp_path / "two") == ""


def test_a_lock_ends_with_its_block(tmp_path):
    with locked(tmp_path, "stack", doing="running"):
        pass

    assert _in_another_process(tmp_path) == ""


def test_the_error_of_a_home_that_cannot_be_created_names_the_setting(tmp_path):
    (tmp_path / "file").touch()

    with (
        pytest.raises(ServerError, match="PIPELINE_HOME"),
        locked(tmp_path / "file" / "home", "stack", doing="running"),
    ):
        pass


def _in_another_process(home: Path) -> str:
    """Take the lock in another process; return the text of the error, empty after a success."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_try, (home,))


def _try(home: Path) -> str:
    try:
        with locked(home, "stack", doing="running a pipeline"):
            return ""
    except ServerError as error:
        return str(error)

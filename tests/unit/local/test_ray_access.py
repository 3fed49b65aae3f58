"""Access to the Ray cluster of a home: only its owner can read the token and enter the folder."""

import os
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from ray_pipeline.errors import ServerError
from ray_pipeline.local.ray_access import environment, temp_dir, token_file


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A directory for temporary files of this test only."""
    path = tmp_path / "tmp"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    return path


def test_a_home_has_one_token_that_only_its_owner_can_read(tmp_path):
    """It is the same after a restart, so that a shell and a notebook stay connected."""
    token = token_file(tmp_path).read_text()

    assert len(token) == 64
    assert token_file(tmp_path).read_text() == token
    assert mode(token_file(tmp_path)) == 0o600
    assert mode(token_file(tmp_path).parent) == 0o700


def test_two_homes_have_two_tokens(tmp_path):
    """Access to one pipeline does not give access to another one."""
    left, right = tmp_path / "left", tmp_path / "right"

    assert token_file(left).read_text() != token_file(right).read_text()


def test_processes_that_start_at_once_get_the_same_token(tmp_path):
    """`local env` may read the token while the pipeline starts."""
    with ThreadPoolExecutor(16) as pool:
        tokens = set(pool.map(lambda _: token_file(tmp_path).read_text(), range(64)))

    assert len(tokens) == 1
    assert [path.name for path in token_file(tmp_path).parent.iterdir()] == ["token"]


@pytest.mark.parametrize("content", ["", "\n"])
def test_an_empty_token_file_gets_a_token(tmp_path, content):
    """A disk that was full must not lead to a cluster without a token, or one that never starts."""
    token_file(tmp_path).write_text(content)

    assert len(token_file(tmp_path).read_text()) == 64


def test_a_token_file_that_others_can_read_is_closed_again(tmp_path):
    """Copying a home may lose the mode."""
    token_file(tmp_path).chmod(0o644)

    assert mode(token_file(tmp_path)) == 0o600


def test_the_variables_name_the_token_and_do_not_contain_it(tmp_path):
    """They are written into a file that other users can read."""
    variables = environment(tmp_path)

    assert variables["RAY_AUTH_MODE"] == "token"
    assert variables["RAY_AUTH_TOKEN_PATH"] == str(token_file(tmp_path))
    assert token_file(tmp_path).read_text() not in "".join(variables.values())


def test_no_other_user_can_enter_rays_directory_after_ray_has_opened_it(tmp_path, temporary):
    """Ray makes its directory accessible to all users."""
    directory = temp_dir(tmp_path)
    directory.chmod(0o777)
    directory.parent.chmod(0o755)

    assert temp_dir(tmp_path) == directory
    assert mode(directory.parent) == 0o700
    assert directory.is_relative_to(temporary)
    assert len(f"{directory}/session_2026-11-27_19-12-24_676839_4194304/sockets/plasma_store") < (
        107 + len(str(temporary)) - len("/tmp")
    )


def test_two_homes_have_two_directories(tmp_path, temporary):
    """Two clusters would mix their sessions."""
    assert temp_dir(tmp_path / "left") != temp_dir(tmp_path / "right")


def test_a_directory_that_is_a_link_is_refused(tmp_path, temporary):
    """Another user could have created it to read Ray's files."""
    elsewhere = tmp_path / "elsewhere"
    temp_dir(tmp_path).parent.rename(elsewhere)
    (linked,) = {temp_dir(tmp_path).parent}
    (linked / "ray").rmdir()
    linked.rmdir()
    linked.symlink_to(elsewhere)

    with pytest.raises(ServerError, match="another user") as caught:
        temp_dir(tmp_path)

    assert "TMPDIR" in caught.value.fix


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(tmp_path, temporary):
    """The other user could replace the sockets that the pipeline connects to."""
    os.chown(temp_dir(tmp_path).parent, 65534, 65534)

    with pytest.raises(ServerError, match="another user"):
        temp_dir(tmp_path)


def test_the_logs_of_old_sessions_are_deleted(tmp_path, temporary):
    """Each start leaves a directory."""
    directory = temp_dir(tmp_path)
    for day in range(1, 7):
        (directory / f"session_2026-11-0{day}").mkdir()

    temp_dir(tmp_path)

    assert sorted(path.name[-2:] for path in directory.iterdir()) == ["04", "05", "06"]

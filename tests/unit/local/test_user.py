"""The command that runs Postgres if root starts it."""

import os
import pwd

import pytest

from ray_pipeline.errors import MissingDependency, ServerError
from ray_pipeline.local import user
from ray_pipeline.local.user import as_user

NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def setpriv(tmp_path, monkeypatch) -> str:
    program = tmp_path / "bin" / "setpriv"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    return str(program)


@pytest.fixture
def open_path(monkeypatch):
    monkeypatch.setattr(user, "_reachable", lambda path: True)


@pytest.fixture
def closed_path(monkeypatch):
    monkeypatch.setattr(user, "_reachable", lambda path: False)


def test_a_reachable_path_needs_no_capability(setpriv, open_path, tmp_path):
    command = as_user(NOBODY, ["postgres"], paths=[tmp_path])

    assert command == [
        setpriv, f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups", "--",
        "postgres",
    ]  # fmt: skip


@pytest.mark.usefixtures("setpriv", "closed_path")
@pytest.mark.parametrize(
    ("bounding_set", "name"),
    [(0b110, "dac_read_search"), (0b100, "dac_read_search"), (0b010, "dac_override")],
)
def test_a_closed_path_is_entered_with_the_weakest_available_capability(
    monkeypatch, tmp_path, bounding_set, name
):
    """Opening root's home to all users would expose it."""
    monkeypatch.setattr(user, "_bounding_set", lambda: bounding_set)

    command = as_user(NOBODY, ["postgres"], paths=[tmp_path])

    assert f"--ambient-caps=-all,+{name}" in command


def test_without_any_capability_the_closed_path_is_named(
    setpriv, closed_path, monkeypatch, tmp_path
):
    monkeypatch.setattr(user, "_bounding_set", lambda: 0)

    with pytest.raises(ServerError, match=str(tmp_path)):
        as_user(NOBODY, ["postgres"], paths=[tmp_path])


def test_without_setpriv_the_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingDependency, match="util-linux"):
        as_user(NOBODY, ["postgres"], paths=[])


def test_a_folder_that_others_cannot_enter_makes_a_path_unreachable(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)

    assert not user._reachable(closed / "data")


def test_data_keep_their_owner(tmp_path):
    """A user `postgres` that is installed later must not take the data away from `nobody`."""
    if os.geteuid() == 0:
        os.chown(tmp_path, NOBODY.pw_uid, NOBODY.pw_gid)

    assert user.server_user(tmp_path).pw_uid == tmp_path.stat().st_uid

"""Fixtures for the tests of the embedded servers."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def ordinary_user() -> list[str]:
    """The prefix of a command that root runs as an ordinary user."""
    nobody = pwd.getpwnam("nobody")
    return [
        "setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups",
        "--inh-caps=-all", "--",
    ]  # fmt: skip


@pytest.fixture
def ordinary_home() -> Iterator[Path]:
    """A home of this user; not in pytest's folder, which other users cannot enter."""
    nobody = pwd.getpwnam("nobody")
    path = Path(tempfile.mkdtemp(prefix="home-"))
    os.chown(path, nobody.pw_uid, nobody.pw_gid)
    yield path
    shutil.rmtree(path)

"""
The user that PostgreSQL runs as. It refuses to run as root; as anybody else it just runs.

As root, the server becomes an ordinary user. That user may have no way into root's home, where
the data or the programs may lie. Instead of opening those folders to everybody, the server keeps
one capability: to pass through folders it does not own.
"""

import os
import pwd
import shutil
from collections.abc import Sequence
from pathlib import Path

from ray_pipeline.errors import MissingDependency, ServerError

CANDIDATES = ("postgres", "nobody")
# In order of preference: the second one allows more, but is what containers are usually left with.
PASSING = {"dac_read_search": 2, "dac_override": 1}  # name -> number, capabilities(7)
BOUNDING_SET = "CapBnd:"
# Without it access(2), by which initdb looks for the server's program, ignores the capability.
KEEP_FOR_ACCESS = "--securebits=+no_setuid_fixup"


def is_root() -> bool:
    """Say whether we are root, as PostgreSQL sees it."""
    return os.geteuid() == 0


def server_user(data: Path) -> pwd.struct_passwd:
    """
    Return the user for a server on `data`: who owns it already, else the first one there is.

    Raises:
        ServerError: If the machine has no such user.
    """
    if data.exists() and data.stat().st_uid != 0:
        return pwd.getpwuid(data.stat().st_uid)
    for name in CANDIDATES:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServerError(
        "PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as",
        fix="useradd --system postgres, or run ray-pipeline as an ordinary user",
    )


def as_user(user: pwd.struct_passwd, command: Sequence[str], *, paths: Sequence[Path]) -> list[str]:
    """
    Return `command`, to be run by root, such that it becomes `user` and reaches all of `paths`.

    Raises:
        MissingDependency: If `setpriv` is absent.
        ServerError: If `user` could not reach a path.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise MissingDependency(
            "PostgreSQL does not run as root, and setpriv, which changes the user, is absent",
            fix="install util-linux, or run ray-pipeline as an ordinary user",
        )
    identity = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return [setpriv, *identity, *_capabilities(paths), "--", *command]


def _capabilities(paths: Sequence[Path]) -> list[str]:
    closed = [path for path in paths if not _reachable(path)]
    if not closed:
        return []
    for name, number in PASSING.items():
        if _bounding_set() >> number & 1:
            return [KEEP_FOR_ACCESS, f"--inh-caps=-all,+{name}", f"--ambient-caps=-all,+{name}"]
    raise ServerError(
        f"PostgreSQL does not run as root, and no other user can reach {closed[0]}",
        fix="put it below folders that others may pass, or run ray-pipeline as an ordinary user",
    )


def _reachable(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


def _bounding_set() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(BOUNDING_SET):
            return int(line.removeprefix(BOUNDING_SET), base=16)
    return 0

"""
The user that PostgreSQL runs as, because it refuses to run as root.

If root starts it, the server changes to an ordinary user. This user may not be allowed to enter
root's home, which may contain the data or the programs. Opening those folders would expose them to
all users. Instead, the server keeps one capability of root: to enter folders it does not own.
"""

import os
import pwd
import shutil
from collections.abc import Sequence
from pathlib import Path

from ray_pipeline.errors import MissingDependency, ServerError

CANDIDATES = ("postgres", "nobody")
# In order of preference: the second capability allows more, but containers usually keep only it.
ENTER_CAPABILITIES = {"dac_read_search": 2, "dac_override": 1}  # name -> number, capabilities(7)
BOUNDING_SET = "CapBnd:"
# initdb finds the server's program with access(2), which ignores the capability without this bit.
KEEP_FOR_ACCESS = "--securebits=+no_setuid_fixup"


def is_root() -> bool:
    """Return whether PostgreSQL would refuse to run as the current user."""
    return os.geteuid() == 0


def server_user(data: Path) -> pwd.struct_passwd:
    """
    Return the user for a server on `data`: its owner, or the first candidate that exists.

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
        "PostgreSQL does not run as root, and neither user `postgres` nor `nobody` exists",
        fix="useradd --system postgres, or run ray-pipeline as an ordinary user",
    )


def as_user(user: pwd.struct_passwd, command: Sequence[str], *, paths: Sequence[Path]) -> list[str]:
    """
    Return a command for root that runs `command` as `user`, who can reach all of `paths`.

    Raises:
        MissingDependency: If `setpriv` is not installed.
        ServerError: If `user` cannot reach a path.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise MissingDependency(
            "PostgreSQL does not run as root, and setpriv, which changes the user, is missing",
            fix="install util-linux, or run ray-pipeline as an ordinary user",
        )
    identity = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return [setpriv, *identity, *_capabilities(paths), "--", *command]


def _capabilities(paths: Sequence[Path]) -> list[str]:
    closed = [path for path in paths if not _reachable(path)]
    if not closed:
        return []
    for name, number in ENTER_CAPABILITIES.items():
        if _bounding_set() >> number & 1:
            return [KEEP_FOR_ACCESS, f"--inh-caps=-all,+{name}", f"--ambient-caps=-all,+{name}"]
    raise ServerError(
        f"PostgreSQL does not run as root, and no other user can reach {closed[0]}",
        fix="move it to a folder that every user can enter, or run ray-pipeline as another user",
    )


def _reachable(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


def _bounding_set() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(BOUNDING_SET):
            return int(line.removeprefix(BOUNDING_SET), base=16)
    return 0

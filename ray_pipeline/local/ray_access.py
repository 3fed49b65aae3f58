"""What programs on this machine need to use the Ray cluster that `up` or `demo` starts."""

import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from ray_pipeline.errors import ServerError
from ray_pipeline.local.password import secret_in

TOKEN_BYTES = 32
KEPT_SESSIONS = 3


def token_file(home: Path) -> Path:
    """Return the file that holds the token of a home's Ray cluster. It exists, with mode 0600."""
    path = home / "ray" / "token"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret_in(path, length_bytes=TOKEN_BYTES)
    path.chmod(0o600)  # a copied or restored file may be readable by other users
    return path


def environment(home: Path) -> dict[str, str]:
    """
    Return the variables with which Ray's programs and libraries use the cluster of a home.

    They name the token's file, and do not contain the token. RAY_AUTH_TOKEN must not be set at the
    same time, because Ray prefers it to the file.
    """
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file(home)),
        # Ray replaces 127.0.0.1 by the machine's address and listens on all interfaces, unless
        # clusters of several machines are disabled. On Linux, this variable disables them.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


def temp_dir(home: Path) -> Path:
    """
    Return Ray's directory for sockets and logs of a home; only its owner can enter it.

    It is outside the home, because the path of a socket has at most 107 characters. Whenever a
    program joins, Ray makes the directory accessible to all users. Therefore it is inside another
    one that only the owner can enter.

    Raises:
        ServerError: If another user created it, who could read and replace Ray's files there.
    """
    name = hashlib.sha256(str(home).encode()).hexdigest()[:8]
    closed = Path(tempfile.gettempdir()) / f"rp-{os.getuid()}-{name}"
    closed.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = closed.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise ServerError(
            f"{closed} belongs to another user or is not a directory; Ray would use it",
            fix="delete it, or set TMPDIR to a directory of your own",
        )
    closed.chmod(0o700)
    path = closed / "ray"
    path.mkdir(exist_ok=True)
    _delete_old_sessions(path)
    return path


def _delete_old_sessions(path: Path) -> None:
    # Each run leaves a directory of logs, of which only the newest are kept.
    sessions = sorted(entry for entry in path.glob("session_2*") if entry.is_dir())
    for session in sessions[:-KEPT_SESSIONS]:
        shutil.rmtree(session, ignore_errors=True)

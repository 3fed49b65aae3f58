"""
The password of one server, made at the first time and kept beside its data.

Everybody on the machine can reach a port at 127.0.0.1, and a superuser of Postgres can run any
program.
"""

import os
import secrets
import tempfile
from pathlib import Path

FILE = "password"


def password_of(directory: Path) -> str:
    """Return the password of the server in `directory`; it needs no escaping anywhere."""
    return secret_in(directory / FILE)


def secret_in(path: Path, *, length_bytes: int = 16) -> str:
    """
    Return the secret that a file holds, as hexadecimal digits.

    A file that is absent or empty gets a new secret. Processes that ask at the same time agree on
    one. Only the file's owner can read it.
    """
    try:
        secret = path.read_text().strip()
    except FileNotFoundError:
        secret = ""
    return secret or _make(path, length_bytes)


def _make(path: Path, length_bytes: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, fresh = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")  # mode 0600
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(length_bytes))
    try:
        os.link(fresh, path)  # unlike a rename, it fails if another process was faster
    except FileExistsError:
        if not path.read_text().strip():
            Path(fresh).replace(path)
    finally:
        Path(fresh).unlink(missing_ok=True)
    return path.read_text().strip()

"""
The password of one server, generated at its first start and kept with its data.

Every user of the machine can connect to a port at 127.0.0.1, and a superuser of Postgres can run
any program. So even a server that listens on loopback only needs a password.
"""

import os
import secrets
import tempfile
from pathlib import Path

FILE = "password"


def password_of(directory: Path) -> str:
    """Return the password of the server in `directory`. It has hexadecimal digits only."""
    return secret_in(directory / FILE)


def secret_in(path: Path, *, length_bytes: int = 16) -> str:
    """
    Return the secret that a file holds, as hexadecimal digits.

    If the file is absent or empty, generate a secret. Processes that do this at the same time
    return the same secret. Only the file's owner can read it.
    """
    try:
        secret = path.read_text().strip()
    except FileNotFoundError:
        secret = ""
    return secret or _generate(path, length_bytes)


def _generate(path: Path, length_bytes: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, new_file = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")  # mode 0600
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(length_bytes))
    # The file appears with its content: a reader never sees it half written. A link, because a
    # rename would replace the secret of a process that was faster.
    try:
        os.link(new_file, path)
    except FileExistsError:
        if not path.read_text().strip():
            Path(new_file).replace(path)
    finally:
        Path(new_file).unlink(missing_ok=True)
    return path.read_text().strip()

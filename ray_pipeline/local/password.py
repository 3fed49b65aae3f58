"""
The password of one server, made at the first time and kept beside its data.

Everybody on the machine can reach a port at 127.0.0.1, and a superuser of Postgres can run any
program.
"""

import os
import secrets
from pathlib import Path

FILE = "password"


def password_of(directory: Path) -> str:
    """Return the password of the server in `directory`; it needs no escaping anywhere."""
    path = directory / FILE
    try:
        return path.read_text()
    except FileNotFoundError:
        return _make(path)


def _make(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    password = secrets.token_hex(16)
    fresh = path.with_name(f"{FILE}.{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_text(password)
    fresh.replace(path)
    return password

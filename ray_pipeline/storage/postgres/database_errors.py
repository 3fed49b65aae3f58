"""
The one classification of Postgres' errors: about the content of a row, or about the database.

Only errors that Postgres defines as errors of values count as bad data. Every other error is an
outage or a fault of the configuration: the caller keeps its data, reports the error with its fix,
and tries again.
"""

import psycopg

from ray_pipeline.errors import DatabaseUnavailable, Disposition

UNIQUE_VIOLATION = "23505"
CHECK_VIOLATION = "23514"
NOT_MIGRATED = frozenset({"42P01", "42703", "42883", "3F000"})  # no table, column, function, schema
# Classes that are about values: 22 data exception, 23 constraint.
_CONTENT_CLASSES = frozenset({"22", "23"})
# Classes that are never about values: 08 connection, 25 transaction state (a read-only database),
# 40 rollback (deadlock, serialization), 53 resources, 55 object in use, 57 operator intervention,
# 58 system.
_OUTAGE_CLASSES = frozenset({"08", "25", "40", "53", "55", "57", "58"})
_USED_UP_SEQUENCE = "2200H"  # of ids: it has the class of a value, and fails for every row
_AWAY = frozenset({"", "08", "57"})
_CORRUPTED = frozenset({"XX001", "XX002"})  # a page or an index is damaged
LONGEST_LINE = 300

READ_ONLY_FIX = (
    "make the database writable: `ALTER SYSTEM RESET default_transaction_read_only`, or point "
    "PIPELINE_POSTGRES__DSN at the primary"
)
_MIGRATE = "run `ray-pipeline migrate`"
_FIXES = {
    "25006": READ_ONLY_FIX,
    CHECK_VIOLATION: f"{_MIGRATE}: it makes the monthly partitions",
    "42501": "check the role's rights: grant the role of PIPELINE_POSTGRES__DSN the rights on the "
    f"schema's tables and sequences, or {_MIGRATE}",
    "53100": "free disk space on the database server",
    "53200": "give the database server more memory",
    "53300": "raise max_connections, or end sessions that are not used",
    "55P03": "end the session that holds the lock; `pg_blocking_pids` names it",
    "57014": "raise statement_timeout of the role, or end the session that holds the lock",
    "57P03": "wait until the server has started",
    "XX001": "restore the damaged table from a backup",
    "XX002": "rebuild the damaged index with REINDEX",
}
_FIXES_BY_CLASS = {
    "08": "check the network between this process and the database server",
    "40": "none is needed if it passes; otherwise find the session that it conflicts with",
    "53": "free the resource that the message names on the database server",
    "54": "raise the limit that the message names",
    "57": "start the database server",
    "P0": "repair the trigger or function that raises it",
}
_USUAL_FIX = "see the log of Postgres, and run `ray-pipeline doctor`"


def disposition(error: psycopg.Error) -> Disposition:
    """
    Classify an error.

    Returns:
        PARK: It is about the content of a row. RETRY: It is an outage, and never about a row.
        GIVE_UP: A person has to change something, or the class does not tell; `row_isolation`
        finds out which.
    """
    code = error.sqlstate
    if code is None:
        return _of_client(error)
    if code[:2] in _OUTAGE_CLASSES or code in _CORRUPTED:
        return Disposition.RETRY
    # A missing partition has the code of a violated CHECK, but violates no named constraint.
    partition_missing = code == CHECK_VIOLATION and error.diag.constraint_name is None
    if partition_missing or code == _USED_UP_SEQUENCE:
        return Disposition.GIVE_UP
    return Disposition.PARK if code[:2] in _CONTENT_CLASSES else Disposition.GIVE_UP


def _of_client(error: psycopg.Error) -> Disposition:
    """Classify an error without a code, which comes from the client library."""
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return Disposition.RETRY  # the connection is lost or closed
    # psycopg rejects a number out of range before it sends the statement.
    return Disposition.PARK if isinstance(error, psycopg.DataError) else Disposition.GIVE_UP


def unavailable(error: Exception) -> DatabaseUnavailable:
    """Return the error to wait on: the cause, its SQLSTATE, and how to fix it."""
    code = getattr(error, "sqlstate", None) or ""
    fault = "Postgres is away" if code[:2] in _AWAY else "Postgres refuses a statement"
    suffix = f" (SQLSTATE {code})" if code else ""
    fix = _FIXES.get(code) or _FIXES_BY_CLASS.get(code[:2]) or _USUAL_FIX
    if code in NOT_MIGRATED:
        fix = _MIGRATE
    return DatabaseUnavailable(f"{fault}: {first_line(error)}{suffix}", fix=fix)


def first_line(error: Exception) -> str:
    """Return the first line of an error's text; the others may quote data or passwords."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:LONGEST_LINE]

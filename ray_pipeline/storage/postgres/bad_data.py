"""Tell data that cannot be stored from a database that cannot store, for the rows of jobs."""

from dataclasses import dataclass, replace

import psycopg

from ray_pipeline.batch.results import Collected
from ray_pipeline.batch.unreadable import detail, excerpt, plain_words
from ray_pipeline.errors import Disposition, PipelineError
from ray_pipeline.jobs.spec import Unparsed
from ray_pipeline.jobs.table import Table
from ray_pipeline.storage.postgres.database_errors import disposition, first_line

# SQLSTATE classes that a value can cause although they are not about data. 21: two rows of one
# statement have the same key once they are stored. 54: a limit, such as that of an index entry.
VALUE_CLASSES = frozenset({"21", "54"})


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that Postgres refused."""

    table: str
    row: object
    reason: str
    detail: str


Refusals = dict[int, RefusedRow]  # by the id of the row


def is_bad_data(error: Exception) -> bool:
    """
    Return whether an error is about the values that are stored.

    An outage, a lost run and a table that is not as the code expects are not.
    """
    if isinstance(error, PipelineError | OSError):
        return False
    if not isinstance(error, psycopg.Error):
        return True  # raised while Python converted the values
    if error.sqlstate is not None:
        return disposition(error) is Disposition.PARK or error.sqlstate[:2] in VALUE_CLASSES
    # psycopg refuses a value of a type that it does not know before it sends anything.
    return isinstance(error, psycopg.DataError | psycopg.ProgrammingError)


def unstorable(result: Collected, error: Exception) -> Collected:
    """Return what is stored of a result that cannot be: its text, and the reason."""
    part = Unparsed(excerpt(result.text), "unstorable", detail(error))
    return replace(
        result,
        state="failed",
        rows=(),
        bad=(part,),
        next=None,
        why=f"the answer cannot be stored: {plain_words(error)}",
        fault="answer",
    )


def refused_row(table: Table, row: object, error: Exception) -> RefusedRow:
    """Return why a row cannot be stored: Postgres' code and first line, or the exception."""
    code = error.sqlstate if isinstance(error, psycopg.Error) else None
    text = first_line(error) if code else detail(error)
    return RefusedRow(table.name, row, code or type(error).__name__, text)

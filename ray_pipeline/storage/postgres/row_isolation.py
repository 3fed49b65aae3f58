"""
Find out which rows of a batch Postgres refuses, and whether their content is the reason.

A SQLSTATE does not always tell. 54000 is a symbol that is too long for an index, and also a
database that is out of transaction ids; a trigger may raise any code for one row or for all rows.
So a row is refused for its content only if two observations agree: the row fails on its own, and a
plain row, which was stored before or is valid by construction, is accepted at the same moment. If
no plain row is accepted, the table, its rights, its triggers or its partitions are at fault.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import psycopg

from ray_pipeline.errors import Disposition, PipelineError
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.storage.postgres.database_errors import disposition

Item = TypeVar("Item")
Write = Callable[[Sequence[Item]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Refused(Generic[Item]):
    """An item that cannot be stored, and the error that says why."""

    item: Item
    error: Exception


def may_be_about_a_row(error: Exception) -> bool:
    """Return False for an outage and for the pipeline's own errors: no row causes them."""
    if isinstance(error, psycopg.Error):
        return disposition(error) is not Disposition.RETRY
    # Any other exception comes from preparing a value, for example a text that has no encoding.
    return not isinstance(error, PipelineError | OSError)


async def isolate_refused(
    connection: Connection, items: Sequence[Item], write: Write[Item], *, plain: Sequence[Item]
) -> list[Refused[Item]]:
    """
    Write the items that Postgres accepts, in their order, and return the others.

    Args:
        connection: In a transaction.
        items: What to write.
        write: Writes some items; it may fail for any of them.
        plain: Valid items, at least one. Each is written to test the table, and rolled back.

    Raises:
        Exception: The error of a write that is not about an item: an outage, or a fault of the
            database that also refuses the plain items. The caller must roll back its transaction.
    """
    if not items:
        return []
    refused: list[Refused[Item]] = []
    accepted = False

    async def halve(part: Sequence[Item]) -> None:
        nonlocal accepted
        try:
            async with connection.transaction():
                await write(part)
            accepted = True
        except Exception as error:
            if not may_be_about_a_row(error):
                raise
            if len(part) == 1:
                # Each time: the table may have become unusable after the last probe. A fault of the
                # table ends here after log2(n) writes, and not after one for each item.
                await probe(error)
                refused.append(Refused(part[0], error))
                return
            middle = len(part) // 2
            # With k bad rows among n, this takes about 2 k log2(n / k) writes.
            await halve(part[:middle])
            await halve(part[middle:])

    async def probe(error: Exception) -> None:
        for item in plain:
            try:
                async with connection.transaction(force_rollback=True):
                    await write([item])
            except Exception as refusal:
                fault = refusal
            else:
                return
        # An operator may have added a constraint that the plain items violate. The items that were
        # accepted prove then that the table works, and the code proves that the item is bad.
        if not (accepted and _is_content(error) and _is_content(fault)):
            raise fault

    await halve(items)
    return refused


def _is_content(error: Exception) -> bool:
    return isinstance(error, psycopg.Error) and disposition(error) is Disposition.PARK

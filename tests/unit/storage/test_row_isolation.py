"""Exactly the items that fail alone are refused, and none if the table itself is at fault."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import errors

from ray_pipeline.errors import OwnershipLost
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.storage.postgres.row_isolation import isolate_refused, may_be_about_a_row

PLAIN = -1
CONTENT, UNKNOWN, OUTAGE = (errors.lookup(code) for code in ("22003", "P0001", "53100"))


class FakeTable:
    """A table with transactions; it refuses items with an error."""

    def __init__(self, refusals: dict[int, Exception], *, usable_for: int | None = None) -> None:
        self.items: list[int] = []
        self.writes = 0
        self._refusals = refusals
        self._usable_for = usable_for  # writes, until the table refuses every item

    @property
    def connection(self) -> Connection:
        return cast(Any, self)

    @asynccontextmanager
    async def transaction(self, *, force_rollback: bool = False) -> AsyncIterator[None]:
        before = list(self.items)
        try:
            yield
        except Exception:
            self.items = before
            raise
        if force_rollback:
            self.items = before

    async def write(self, items: Sequence[int]) -> None:
        self.writes += 1
        if self._usable_for is not None and self.writes > self._usable_for:
            raise UNKNOWN("the trigger fails")
        for item in items:
            if item in self._refusals:
                raise self._refusals[item]
            self.items.append(item)


async def isolate(table: FakeTable, items: Sequence[int]) -> list[int]:
    """Return the refused items."""
    refused = await isolate_refused(table.connection, items, table.write, plain=[PLAIN])
    return [item.item for item in refused]


@given(st.integers(0, 200), st.sets(st.integers(0, 199)), st.sampled_from([CONTENT, UNKNOWN]))
async def test_the_bad_items_are_refused_and_all_others_are_written_in_order(count, bad, error):
    """However many there are, and wherever they are."""
    table = FakeTable({item: error("bad") for item in bad})

    refused = await isolate(table, range(count))

    assert refused == [item for item in range(count) if item in bad]
    assert table.items == [item for item in range(count) if item not in bad]


@pytest.mark.parametrize("error", [CONTENT, UNKNOWN])
async def test_a_table_that_refuses_a_plain_item_refuses_none_of_the_others(error):
    """And that is known after a few writes, not after one for each item."""
    table = FakeTable(dict.fromkeys([PLAIN, *range(1_000)], error("the table is at fault")))

    with pytest.raises(error):
        await isolate(table, range(1_000))

    assert table.writes <= 12


async def test_a_fault_that_begins_between_two_items_refuses_none_that_follows():
    """The items before it were accepted by the same table."""
    table = FakeTable({3: UNKNOWN("bad")}, usable_for=9)

    with pytest.raises(UNKNOWN, match="the trigger fails"):
        await isolate(table, range(100))


async def test_a_constraint_that_the_plain_item_violates_does_not_hold_up_a_bad_item():
    """The code says that the item is bad, and the accepted items say that the table works."""
    table = FakeTable({PLAIN: CONTENT("a check of the operator"), 3: CONTENT("bad")})

    assert await isolate(table, range(5)) == [3]


async def test_an_outage_is_raised_at_once():
    table = FakeTable({3: OUTAGE("the disk is full")})

    with pytest.raises(OUTAGE):
        await isolate(table, [3, 4])

    assert table.writes == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), True),
        (OverflowError(), True),
        (OwnershipLost("a newer owner"), False),
        (ConnectionResetError(), False),
    ],
)
def test_an_error_of_preparing_a_value_may_be_about_a_row(error, expected):
    """An error of the network or of the ownership is not."""
    assert may_be_about_a_row(error) is expected

"""
The vocabulary of a batch dataset: a `JobSpec` value names its sources, tables and schedule.

`plan(run)` returns the requests, and `parse(body, request, run)` turns an answer into rows. They
are pure functions. The flow in `ray_pipeline.batch` adds quotas, refusals, progress and storage.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Literal

from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import text
from ray_pipeline.providers.provider import Provider
from ray_pipeline.schedules.cron import Cron

Json = Any  # an answer of a provider; `parse` gives its values types
Record = Mapping[str, Any]  # a row of an input query

CatchUp = Literal["none", "latest", "all"]


@dataclass(frozen=True, slots=True)
class Run:
    """
    One run of a job.

    Attributes:
        job: The name of the job.
        slot: The moment at which the run was due, UTC.
        now: The moment at which the run began, UTC. Stored values must not depend on it, except
            columns that record when a value was fetched: a repeated run would change them.
        batch: The number of the slot's batch; 0 for a job without batches.
        inputs: The rows of the job's input queries, by name.
    """

    job: str
    slot: datetime
    now: datetime
    batch: int = 0
    inputs: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)

    def rows(self, name: str) -> tuple[Record, ...]:
        """Return the rows of an input query."""
        return self.inputs.get(name, ())

    def values(self, name: str, column: str) -> list[str]:
        """Return one column of an input query, as text."""
        return [str(row[column]) for row in self.rows(name)]


@dataclass(frozen=True, slots=True)
class Request:
    """
    One call of a provider.

    Attributes:
        item: The symbol, account or coin that is requested; progress is stored by item. Empty for
            a job of one call.
        path: The path after the provider's base URL.
        params: The parameters of the query string, without the key.
        facts: Values that `parse` needs in addition to the answer.
        page: The number of the page, from 0.
    """

    item: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    page: int = 0


class Empty(Enum):
    """What an answer without rows means. Every source declares it."""

    NORMAL = "normal"  # nothing happened: no new post, no planned offering
    SOMETIMES = "normal for an item, not for a whole run"  # no news about one of the companies
    UNKNOWN = "the provider does not know the item"  # it is requested again after a week
    FAILURE = "failure"  # the dataset always has rows: the answer is not the dataset


# How large an answer must be: the share of the values that the item's last complete answer had. A
# smaller answer is kept aside, because it is more likely to be cut off than to be true.
WHOLE = 0.8  # the answer holds everything about its item: series, lists, statements
MOSTLY_WHOLE = 0.6  # the same, but rows leave the answer as time passes
VARIES = 0.0  # the size of an answer says nothing: news, posts, pages of tickers


class OtherItemAnswered(Exception):
    """The answer is about another item than the requested one."""


@dataclass(frozen=True, slots=True)
class Unparsed:
    """A part of an answer that cannot be read; it is stored as a dead letter with its reason."""

    raw: Json
    reason: str
    detail: str = ""


Plan = Callable[[Run], Iterable[Request]]
Parse = Callable[[Json, Request, Run], Iterable[object]]
Follow = Callable[[Json, Request, Run], Request | None]


@dataclass(frozen=True, slots=True)
class Source:
    """
    One provider of a dataset.

    Attributes:
        provider: The provider.
        plan: Returns one request for each item, the most important items first.
        parse: Yields rows of the job's tables, and `Unparsed` for parts that cannot be read.
        body: What `parse` receives: parsed JSON, or text (CSV, HTML).
        follow: Returns the request of an item's next page, None after the last page.
        empty: What an answer without rows means: a value for the first page of every item, or a
            function of the request.
        least: The share of the values of an item's last complete answer that an answer must have:
            WHOLE, MOSTLY_WHOLE or VARIES.
    """

    provider: Provider
    plan: Plan
    parse: Parse
    body: Literal["json", "text"] = "json"
    follow: Follow | None = None
    empty: Empty | Callable[[Request], Empty] = field(kw_only=True)
    least: float = field(kw_only=True)

    def meaning_of_empty(self, request: Request) -> Empty:
        """Return what an answer to this request means if it has no rows."""
        if not isinstance(self.empty, Empty):
            return self.empty(request)
        # A page that is followed by an empty one had rows.
        return self.empty if request.page == 0 else Empty.NORMAL


@dataclass(frozen=True, slots=True)
class JobSpec:
    """
    A batch dataset.

    Attributes:
        name: The name of the job in commands: `ray-pipeline run NAME`.
        title: One line for people.
        sources: The providers, in order of preference. The first one that has a key collects.
        tables: The tables of the rows, each with its row type.
        schedule: When the job is due.
        inputs: SQL queries for the rows that `plan` needs, by name. They run once, at the start.
        derive: For a dataset that is made from other tables: returns the rows, without a call.
        complete: Collect from every source that has a key, not only from the first.
        refresh: Makes the job a sweep: how long an item counts as collected. A run takes new items
            first, then those that were collected longest ago. None: each slot requests every item.
        batch: The largest number of items of one run; None for all items.
        pages: The usual number of calls for an item, which `ray-pipeline plan` assumes.
        typical_items: The usual number of items, which `ray-pipeline plan` assumes without a
            database.
        batched: The table of the batches that `Run.batch` numbers.
        catch_up: Which missed slots run later: none, only the latest, or all.
        depends: Jobs that fill the tables of the inputs.
        manual: Whether the job runs only on request.
        prune: A statement that removes rows which the source no longer has; it runs after a
            collection without failures. None if rows stay.
    """

    name: str
    title: str
    tables: tuple[Table, ...]
    schedule: Cron
    sources: tuple[Source, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    derive: Callable[[Run], Iterable[object]] | None = None
    complete: bool = False
    refresh: timedelta | None = None
    batch: int | None = None
    pages: float = 1.0
    typical_items: int = 1
    batched: str | None = None
    catch_up: CatchUp = "latest"
    depends: tuple[str, ...] = ()
    manual: bool = False
    prune: str | None = None

    @property
    def sweep(self) -> bool:
        """Whether the job is a sweep: progress continues from run to run."""
        return self.refresh is not None

    @property
    def table_names(self) -> list[str]:
        """The names of the tables; two sources may write the same table with other row types."""
        return list(dict.fromkeys(table.name for table in self.tables))

    def usable_sources(self, keys: Mapping[str, Sequence[str] | int]) -> list[Source]:
        """Return the sources that have a key or need none; `keys` may hold keys or their number."""
        return [
            source
            for source in self.sources
            if not source.provider.needs_key or keys.get(source.provider.name)
        ]


def one_call(path: str, params: Mapping[str, str] | None = None, *, item: str = "") -> Plan:
    """Return the plan of a dataset that one request, or the first of its pages, brings whole."""
    request = Request(item, path, params or {})
    return lambda _run: (request,)


# The exceptions that `parse` raises for a malformed item.
UNREADABLE = (LookupError, ValueError, TypeError, ArithmeticError, AttributeError)


def each(items: Iterable[Json], parse_one: Callable[[Json], object]) -> Iterator[object]:
    """
    Yield the rows of each item; an item that cannot be read becomes `Unparsed` and costs no other.

    `parse_one` returns a row, a tuple of rows, or None for an item that is not meant to be a row.

    Raises:
        TypeError: If `items` is an object or a text. An error in place of the list, such as {},
            must not be taken for an empty list, nor each character of a text for an item.
    """
    if isinstance(items, Mapping | str | bytes):
        raise TypeError(f"not a list, but {str(items)[:80]!r}")
    for item in items:
        try:
            row = parse_one(item)
        except UNREADABLE as bad:
            yield Unparsed(item, type(bad).__name__, str(bad))
        else:
            if isinstance(row, tuple):
                yield from row
            elif row is not None:
                yield row


def check_item(answered: Json, requested: str) -> None:
    """
    Compare the item that an answer names with the requested one; an answer may name none.

    Providers write share classes in several ways, so only letters and digits count.

    Raises:
        OtherItemAnswered: If the answer names another item.
        BadValue: If the name is not a text.
    """
    answered_name, requested_name = _bare(text(answered) or ""), _bare(requested)
    if answered_name and requested_name and answered_name != requested_name:
        raise OtherItemAnswered(f"{requested} was requested, and the answer is about {answered}")


def check_one_of(answered: Iterable[str], requested: str) -> None:
    """
    Compare the items that an answer names with the requested one; see `check_item`.

    Raises:
        OtherItemAnswered: If the answer names items, and the requested one is not among them.
    """
    names = {bare: name for name in answered if (bare := _bare(name))}
    if names and _bare(requested) not in names:
        raise OtherItemAnswered(f"{requested} was requested, and the answer is about {min(names)}")


def _bare(name: str) -> str:
    return re.sub(r"[\W_]", "", name).upper()

"""
A batch dataset is a value: who is asked, what, when, and how the answer becomes rows.

`plan(run)` says what to ask, `parse(body, request, run)` what the answer says. Both are pure; the
flow that uses them knows quotas, refusals, progress and storing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from ray_pipeline.jobs.table import Table
from ray_pipeline.providers.provider import Provider
from ray_pipeline.schedules.cron import Cron

Json = Any  # what a provider sent; `parse` is where it gets a type
Record = Mapping[str, Any]  # a row that an input query found

CatchUp = Literal["none", "latest", "all"]


@dataclass(frozen=True, slots=True)
class Run:
    """
    One run of a job, as `plan` and `parse` see it.

    Attributes:
        job: Its name.
        slot: The moment it was due, UTC.
        now: The moment it began, UTC. Nothing that is stored may depend on it but what says when
            something was fetched.
        batch: A number of this slot, for tables that keep batches; 0 where the job has none.
        inputs: What the job's queries found, by name.
    """

    job: str
    slot: datetime
    now: datetime
    batch: int = 0
    inputs: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)

    def rows(self, name: str) -> tuple[Record, ...]:
        """Return what an input query found."""
        return self.inputs.get(name, ())

    def values(self, name: str, column: str) -> list[str]:
        """Return one column of an input, as text."""
        return [str(row[column]) for row in self.rows(name)]


@dataclass(frozen=True, slots=True)
class Request:
    """
    One call of a provider.

    Attributes:
        item: What it is about: a symbol, an account, a coin; progress is kept by it. Empty for a
            job of one call.
        path: After the provider's base URL.
        params: Of the query, without the key.
        facts: What `parse` needs to know besides the answer.
        page: 0, or which follow-up of the item's first request this is.
    """

    item: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    page: int = 0


@dataclass(frozen=True, slots=True)
class Unparsed:
    """A part of an answer that is not what it should be; it is set aside with its reason."""

    raw: Json
    reason: str
    detail: str = ""


Plan = Callable[[Run], Iterable[Request]]
Parse = Callable[[Json, Request, Run], Iterable[object]]
Follow = Callable[[Json, Request, Run], Request | None]


@dataclass(frozen=True, slots=True)
class Source:
    """
    One way to get a dataset.

    Attributes:
        provider: Who is asked.
        plan: What to ask, one request an item, in the order of importance.
        parse: Rows of the job's tables, and `Unparsed` for what is not a row.
        body: What an answer is: parsed JSON, or text (CSV, HTML).
        follow: The item's next page, None when there is none.
        empty: When an answer without a row is no surprise.
    """

    provider: Provider
    plan: Plan
    parse: Parse
    body: Literal["json", "text"] = "json"
    follow: Follow | None = None
    empty: bool = True


@dataclass(frozen=True, slots=True)
class JobSpec:
    """
    A batch dataset.

    Attributes:
        name: As it is run: `ray-pipeline run NAME`.
        title: One line, for people.
        sources: In order of preference. The first whose provider has a key collects; with
            `complete` the others that have one add what it does not have.
        tables: Where the rows go, by their type.
        schedule: When.
        inputs: SQL queries whose rows `plan` needs, by name. They are run once, at the start.
        derive: For a dataset made from our own tables: the rows, without a call.
        complete: Ask every source that has a key, not only the first.
        refresh: For a sweep: how long an item counts as collected. A run takes the items that were
            never collected, then the oldest; None: every slot asks for every item.
        batch: Most items of one run; None for all of them.
        pages: How many calls an item usually takes, for `plan`.
        typical_items: How many items a run usually has, for `plan` without a database.
        batched: The table of which `Run.batch` is the next number.
        catch_up: What to do about slots that nobody could run: none, only the latest, or all.
        depends: Jobs whose tables the inputs read.
        manual: Only on request.
        prune: A statement that removes what the source no longer has; run after a whole collection,
            with %(slot)s. None where rows stay.
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
        """Whether progress goes on from run to run."""
        return self.refresh is not None


def one_call(path: str, params: Mapping[str, str] | None = None, *, item: str = "") -> Plan:
    """Return the plan of a dataset that one request, or the first of its pages, brings whole."""
    request = Request(item, path, params or {})
    return lambda _run: (request,)


# What reading a malformed item raises.
UNREADABLE = (LookupError, ValueError, TypeError, ArithmeticError, AttributeError)


def each(items: Iterable[Json], parse_one: Callable[[Json], object]) -> Iterator[object]:
    """
    Yield the rows of each item; an item that cannot be read becomes `Unparsed` and costs no other.

    `parse_one` returns a row, a tuple of rows, or None for an item that is not meant to be a row.
    """
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

"""What every run of a job promises, checked in the database after a run with a mutated answer."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from ray_pipeline.batch.outcome import Outcome
from ray_pipeline.jobs.spec import Empty, JobSpec, Request
from ray_pipeline.providers.registry import all_providers
from tests.fuzz.provider import Signature

# In no recorded answer: one of them contains the word "SECRET".
SECRET = "PLANTED4711"
GREEN = frozenset({"succeeded", "nothing_new"})
TEXTS = ("job_runs", "job_items", "quota_keys", "quota_grants", "payloads", "findings")

States = Mapping[tuple[str, str], tuple[str, int]]  # by source and item: the state and the rows


@dataclass(frozen=True, slots=True)
class Finished:
    """
    A run that has ended.

    Attributes:
        spec: The job.
        target: What identifies the request with the mutated answer.
        request: That request.
        items: The items that send this request.
        outcome: The outcome, or the exception that the run raised.
        received: The calls that each provider received.
        logged: All log records.
        usual: The states after a run without a mutation.
    """

    spec: JobSpec
    target: Signature
    request: Request
    items: frozenset[str]
    outcome: Outcome | Exception
    received: Counter[str]
    logged: Sequence[str]
    usual: States


Connection = psycopg.Connection[Any]


def violations(run: Finished, connection: Connection) -> Iterator[str]:
    """Yield the promises that a run broke, one text each."""
    states = read_states(connection)
    if isinstance(run.outcome, Exception):
        yield f"uncaught {type(run.outcome).__name__}: {str(run.outcome)[:200]}"
    else:
        yield from _green(run, run.outcome, states, connection)
        yield from _counted(run, run.outcome, connection)
    yield from _explained(run, states, connection)
    yield from _others(run, states, connection)
    yield from _secrets(run, connection)


def read_states(connection: Connection) -> States:
    """Return the progress of every item."""
    rows = connection.execute("SELECT source, item, state, rows FROM job_items")
    return {(source, item): (state, count) for source, item, state, count in rows}


def _green(
    run: Finished, outcome: Outcome, states: States, connection: Connection
) -> Iterator[str]:
    """A green run stored rows, unless its source declares that an answer may be empty."""
    source = run.target.provider
    # A source that another one replaced does not count.
    if outcome.state not in GREEN or (not run.spec.complete and outcome.sources[-1] != source):
        return
    declared = next(each for each in run.spec.sources if each.provider.name == source)
    may_be_empty = declared.meaning_of_empty(run.request) in {Empty.NORMAL, Empty.SOMETIMES}
    for item in sorted(run.items):
        state, rows = states.get((source, item), ("missing", 0))
        if state == "done" and rows == 0:
            yield "green, an item is done without a row"
        if state == "empty" and not may_be_empty:
            yield "green with an empty answer, although the dataset is never empty"
        if state in {"failed", "missing"} and run.spec.refresh is None:
            yield f"green, but an item is {state}"
    if len(states) == 1 and _stored_rows(run.spec, connection) == 0:
        (state, _), *_ = states.values()
        if not (state == "empty" and may_be_empty):
            yield f"green without a stored row; the item is {state}"


def _stored_rows(spec: JobSpec, connection: Connection) -> int:
    return sum(_scalar(connection, f"SELECT count(*) FROM {table.name}") for table in spec.tables)


def _counted(run: Finished, outcome: Outcome, connection: Connection) -> Iterator[str]:
    """The ledger permitted each call, and the run counts each call."""
    granted = Counter(
        dict(
            connection.execute(
                "SELECT provider, sum(calls)::integer FROM quota_grants GROUP BY provider"
            ).fetchall()
        )
    )
    with_quota = {provider.name for provider in all_providers() if provider.quota.windows}
    for name in sorted(with_quota & {*run.received, *granted}):
        if run.received[name] != granted[name]:
            yield f"{name} received {run.received[name]} calls, {granted[name]} were permitted"
    total = run.received.total()
    if outcome.calls != total:
        yield f"the outcome counts {outcome.calls} calls of {total}"
    counted = _scalar(connection, "SELECT sum(calls)::integer FROM job_runs")
    if counted != total:
        yield f"job_runs counts {counted} calls of {total}"


def _explained(run: Finished, states: States, connection: Connection) -> Iterator[str]:
    """A failed item has a reason, and an unreadable answer is a dead letter with its payload."""
    for (_, item), (state, _) in states.items():
        if state != "failed" or item not in run.items:
            continue
        why = _scalar(connection, "SELECT max(why) FROM job_items WHERE state = 'failed'")
        if not why or "ExceptionGroup" in why:
            yield f"failed without a reason: {why!r}"
        elif why.startswith("the answer cannot be"):
            letters = _scalar(connection, "SELECT count(*) FROM dead_letters")
            if not letters or not _scalar(connection, "SELECT count(*) FROM payloads"):
                yield f"no dead letter with a payload: {why}"


def _others(run: Finished, states: States, connection: Connection) -> Iterator[str]:
    """Every other item of the source ended as usual."""
    # A refused key or a quota may stop the calls for the other items, but not change their result.
    stopped = not isinstance(run.outcome, Exception) and run.outcome.state in {
        "deferred",
        "refused",
    }
    cooling = _scalar(connection, "SELECT count(*) FROM quota_keys WHERE rest_until > now()")
    for (source, item), usual in run.usual.items():
        if source != run.target.provider or item in run.items:
            continue
        state = states.get((source, item))
        is_unfinished = state is None or state[0] == "paging"
        if state != usual and not (is_unfinished and (stopped or cooling)):
            yield f"another item: {state} instead of {usual}"


def _secrets(run: Finished, connection: Connection) -> Iterator[str]:
    """No key is in any text."""
    texts = [repr(run.outcome), *run.logged]
    for table in TEXTS:
        texts += [row[0] for row in connection.execute(f"SELECT t::text FROM {table} AS t")]
    letters = connection.execute("SELECT key, payload, detail FROM dead_letters")
    texts += [repr(row) for row in letters]
    for text in texts:
        if SECRET in text:
            at = text.index(SECRET)
            yield f"a key in a text: {text[max(0, at - 60) : at + 30]!r}"
            return


def _scalar(connection: Connection, statement: str) -> Any:
    row = connection.execute(statement.encode()).fetchone()
    return row[0] if row else None

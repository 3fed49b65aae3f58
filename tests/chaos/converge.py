"""The end of a run: wait until everything that was sent is stored or known to be missing."""

import asyncio
import time
from datetime import UTC, datetime
from typing import LiteralString

import psycopg

from tests.chaos.slots import unfinished
from tests.chaos.stack import CONSUMERS, PRODUCERS, RUNS, SCHEDULERS, STREAMS, Stack
from tests.chaos.stored import slot_runs
from tests.chaos.watch import Watch

POLL_S = 0.5
RECOVER_S = 180.0
STOP_S = 90.0
STORE_S = 240.0
NOT_COLLECTING: LiteralString = """
    SELECT DISTINCT ON (feed, shard) feed, shard, state, cause, spooled, wanted, confirmed
    FROM producer_epochs ORDER BY feed, shard, epoch DESC
"""
# A producer knows that it has everything that was sent before `safe_at`.
NOT_READ: LiteralString = """
    SELECT feed, shard, safe_at FROM (
        SELECT DISTINCT ON (feed, shard) feed, shard, safe_at
        FROM producer_epochs ORDER BY feed, shard, epoch DESC
    ) AS newest
    WHERE safe_at IS NULL OR safe_at <= to_timestamp(%(paused_s)s)
"""
# Numbers that exist and neither arrived nor are known as lost.
OUTSTANDING: LiteralString = """
    SELECT feed, p.shard, p.epoch, p.published, s.seen::text, s.lost::text
    FROM producer_epochs AS p LEFT JOIN stream_sequences AS s USING (feed, shard, epoch)
    WHERE NOT coalesce(s.seen + s.lost, '{}') @> int8multirange(int8range(
        1, 1 + greatest(p.published, coalesce(upper(s.seen) - 1, 0))))
"""
CONSUMERS_STATE: LiteralString = """
    SELECT topic, partition, state, cause, lag, redis_state FROM consumer_state
    WHERE state <> 'storing' OR lag <> 0 OR redis_state <> 'writing'
       OR heartbeat_at < now() - interval '5 s'
"""


class NotConverged(Exception):
    """The pipeline did not reach a quiet state in time; the text says what is outstanding."""


async def recovered(stack: Stack, watch: Watch) -> None:
    """
    Wait until every shard collects and stores.

    Raises:
        NotConverged: If that takes too long.
    """
    # As the supervisor does. A fault that lost them may have failed before it made them again.
    await stack.make_topics()
    begun_s = time.time()

    def problem() -> str:
        rows = _read(stack, NOT_COLLECTING)
        states = {(feed, shard): row for feed, shard, *row in rows}
        for stream in STREAMS:
            state, cause, spooled, wanted, confirmed = states.get(stream, ("", "", 0, 0, 0))
            if state != "collecting" or spooled or confirmed < wanted:
                return f"{stream}: {state} {cause}, {spooled} spooled, {confirmed}/{wanted}"
            if watch.moved_s.get(stream, 0.0) <= begun_s:
                return f"{stream}: nothing new is stored"
        return ""

    await _until(problem, RECOVER_S)


async def slots_ended(stack: Stack, due_until: datetime) -> None:
    """
    Stop the runs that contend for the quotas, then wait until each slot has a run that ended.

    Raises:
        NotConverged: If that takes too long.
    """
    for name in RUNS:
        await stack.children[name].end(timeout_s=STOP_S)

    def problem() -> str:
        runs = slot_runs(stack.postgres.dsn)
        return "; ".join(unfinished(runs, until=due_until, now=datetime.now(UTC)))

    await _until(problem, STORE_S)
    for name in SCHEDULERS:
        await stack.children[name].end(timeout_s=STOP_S)


async def finished(stack: Stack) -> None:
    """
    Stop sending and the producers, then wait until the consumers have stored everything.

    Raises:
        NotConverged: If that takes too long.
    """
    await stack.venue.control("pause")
    # The gap that the next start of a producer writes contains what was on its way when it stopped,
    # but no producer starts any more.
    paused_s = time.time()
    await _until(lambda: _not_read(stack, paused_s), STORE_S)
    names = list(PRODUCERS)
    orderly = await asyncio.gather(*(stack.children[name].end(timeout_s=STOP_S) for name in names))
    if late := [name for name, ended in zip(names, orderly, strict=True) if not ended]:
        raise NotConverged(f"{', '.join(late)} did not stop within {STOP_S:g} s of SIGTERM")

    def problem() -> str:
        if rows := _read(stack, OUTSTANDING):
            return f"numbers neither arrived nor lost: {rows}"
        if rows := _read(stack, CONSUMERS_STATE):
            return f"consumers: {rows}"
        return ""

    await _until(problem, STORE_S)
    for name in CONSUMERS:
        if not await stack.children[name].end(timeout_s=STOP_S):
            raise NotConverged(f"{name} did not stop within {STOP_S:g} s of SIGTERM")
    await stack.venue.end()
    await stack.providers.end()


def _not_read(stack: Stack, paused_s: float) -> str:
    rows = _read(stack, NOT_READ, paused_s=paused_s)
    return f"producers that have not read everything: {rows}" if rows else ""


async def _until(problem, timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while text := await asyncio.to_thread(problem):
        if time.monotonic() > deadline_s:
            raise NotConverged(f"not within {timeout_s:g} s: {text}")
        await asyncio.sleep(POLL_S)


def _read(stack: Stack, query: LiteralString, **values: object) -> list[tuple]:
    with psycopg.connect(stack.postgres.dsn, autocommit=True) as connection:
        return connection.execute(query, values or None).fetchall()

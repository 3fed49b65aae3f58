"""
Compare consumers of one topic on the same broker and databases, one after the other, each in a
process of its own: this pipeline, a row-at-a-time consumer, and Quix Streams with its PostgreSQL
and Redis sinks.
"""

import contextlib
import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import psutil
import psycopg
import redis

from benchmarks.processes import say, started
from benchmarks.servers import Servers
from benchmarks.topic import fill

TITLE = "One consumer process, both stores"
PATIENCE_S = 300
OURS = "sp500_websocket_trades"
TABLES = {"quix": "quix_trades"}


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one consumer; `rates` are rows per second, one per repetition."""

    name: str
    trades: int
    rates: tuple[float, ...]
    lost: int
    duplicated: int
    peak_mib: float
    note: str = ""

    def markdown(self) -> str:
        """Return the row of the table."""
        return (
            f"| {self.name} | {self.trades:,} | {statistics.median(self.rates):,.0f} | "
            f"{min(self.rates):,.0f} to {max(self.rates):,.0f} | {self.lost} | "
            f"{self.duplicated} | {self.peak_mib:.0f} | {self.note} |"
        )


def measure(
    servers: Servers,
    *,
    trades: int,
    slow_trades: int,
    symbols: int,
    without_quix: bool,
    repeat: int,
) -> list[Row]:
    """Let every consumer empty a topic in each round, so that noise affects all of them."""
    rounds = [
        list(
            _round(
                servers,
                trades=trades,
                slow_trades=slow_trades,
                symbols=symbols,
                without_quix=without_quix,
            )
        )
        for _ in range(repeat)
    ]
    return [_together(rows) for rows in zip(*rounds, strict=True)]


def _round(
    servers: Servers, *, trades: int, slow_trades: int, symbols: int, without_quix: bool
) -> Iterator[Row]:
    for per_s in (20_000, 1_000):
        yield contest(
            servers, f"ray-pipeline, {per_s:,} trades a second of event time",
            module="ours", trades=trades, per_s=per_s, symbols=symbols,
        )  # fmt: skip
    yield contest(
        servers, "row at a time", module="row_at_a_time", trades=slow_trades,
        symbols=symbols, per_s=20_000, note="INSERT, commit, two SETs a message",
    )  # fmt: skip
    if not without_quix:
        yield contest(
            servers, "Quix Streams, PostgreSQL and Redis sinks", module="quix",
            trades=trades, symbols=symbols, per_s=20_000, note="at least once",
        )  # fmt: skip


def _together(rows: Sequence[Row]) -> Row:
    """Return the repetitions of one consumer as one row; losses are added up."""
    return replace(
        rows[0],
        rates=tuple(rate for row in rows for rate in row.rates),
        lost=sum(row.lost for row in rows),
        duplicated=sum(row.duplicated for row in rows),
        peak_mib=max(row.peak_mib for row in rows),
    )


def contest(
    servers: Servers,
    name: str,
    *,
    module: str,
    trades: int,
    symbols: int,
    per_s: int,
    note: str = "",
) -> Row:
    """Fill a new topic, let one consumer empty it, and count the stored rows."""
    number = time.monotonic_ns()
    dsn = servers.database(f"bench_{number}")
    with redis.Redis.from_url(servers.valkey.url) as client:
        client.flushall()
    prefix = f"bench-{number}-"
    fill(
        servers.kafka.bootstrap_servers, prefix=prefix, trades=trades, symbols=symbols, per_s=per_s
    )
    values = {**servers.settings(dsn), "PIPELINE_KAFKA__TOPIC_PREFIX": prefix}
    with started(["-m", f"benchmarks.{module}", str(trades)], values, home=servers.home) as process:
        rate, peak_mib = watch(process, trades)
    lost, duplicated = count(dsn, trades, table=TABLES.get(module, OURS))
    row = Row(name, trades, (rate,), lost, duplicated, peak_mib, note)
    say(row.markdown())
    return row


def watch(process: "subprocess.Popen[str]", trades: int) -> tuple[float, float]:
    """Return rows per second from the first poll to the last store, and the peak memory in MiB."""
    assert process.stdout is not None
    begun = json.loads(process.stdout.readline())["ready_s"]
    watched, peak = psutil.Process(process.pid), 0
    deadline_s = time.time() + PATIENCE_S
    os.set_blocking(process.stdout.fileno(), False)
    line = ""
    while not line and time.time() < deadline_s and process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            peak = max(peak, watched.memory_info().rss)
        line = process.stdout.readline()
        time.sleep(0.02)
    line = line or process.stdout.read() or ""
    done = json.loads(line)["done_s"] if line.strip() else time.time()
    process.terminate()
    return trades / (done - begun), peak / 2**20


def count(dsn: str, trades: int, *, table: str) -> tuple[int, int]:
    """Return the numbers of missing and of duplicated rows."""
    with psycopg.connect(dsn) as connection:
        rows, distinct = connection.execute(
            f"SELECT count(*), count(DISTINCT (pod_index, epoch, seq)) FROM {table}"
        ).fetchone()
    return trades - distinct, rows - distinct


def section(rows: Sequence[Row]) -> str:
    """Return the section of RESULTS.md."""
    return TEXT.format(table="\n".join(row.markdown() for row in rows))


TEXT = """\
From the first poll of a full topic to the last commit in Postgres and the last write in Redis.

| consumer | trades | rows/s, median | min to max | lost | duplicated | peak MiB | |
|---|---|---|---|---|---|---|---|
{table}

The goal is at least 70,000 rows/s, and 120,000 at best. Broker, Postgres, Valkey and consumer share
two cores, so any other process on the machine lowers the result. The consumer's own work (decoding,
COPY text, bars: about 9 µs per record) takes one core. A thousand trades per second over 500
symbols produce nearly one one-second bar for every two trades, which makes the second row slower.
"""

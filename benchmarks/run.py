"""
Measure, and write RESULTS.md: `make bench`, or `python benchmarks/run.py --trades 200000`.

Consumers of one topic, one after the other, on the same broker and databases, each in a process of
its own: this pipeline's, a row-at-a-time one, and Quix Streams with its PostgreSQL and Redis sinks.
Then the latency and the cost of the whole chain at a given rate.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg
import redis

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.topic import fill
from ray_pipeline.io.migrations import migrate
from ray_pipeline.local.servers import KafkaServer, PostgresServer, ValkeyServer

RESULTS = Path(__file__).parent / "RESULTS.md"
PATIENCE_S = 300
OURS = "sp500_websocket_trades"
TABLES = {"quix": "quix_trades"}


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant's result."""

    name: str
    trades: int
    rows_per_s: float
    lost: int
    duplicated: int
    peak_mib: float
    note: str = ""

    def markdown(self) -> str:
        """Return the row of the table."""
        return (
            f"| {self.name} | {self.trades:,} | {self.rows_per_s:,.0f} | {self.lost} | "
            f"{self.duplicated} | {self.peak_mib:.0f} | {self.note} |"
        )


@dataclass(frozen=True, slots=True)
class Servers:
    """What all contestants share."""

    postgres: PostgresServer
    valkey: ValkeyServer
    kafka: KafkaServer

    def database(self, name: str) -> str:
        """Make an empty database with the schema and return its connection string."""
        with psycopg.connect(self.postgres.database("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        dsn = self.postgres.database(name)
        asyncio.run(migrate(dsn))
        return dsn


def say(text: str) -> None:
    """Tell progress."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def running(home: Path):
    """Start the servers in a temporary home, and stop them."""
    home.chmod(0o755)
    servers = Servers(
        PostgresServer(home / "postgres"),
        ValkeyServer(home / "valkey"),
        KafkaServer(home / "kafka", java_options=("-Xmx512m",)),
    )
    started = (servers.postgres, servers.valkey, servers.kafka)
    for server in started:
        server.start()
    try:
        yield servers
    finally:
        for server in reversed(started):
            server.stop()


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
    """Fill a topic of its own, let one consumer empty it, and count what arrived."""
    number = time.monotonic_ns()
    dsn = servers.database(f"bench_{number}")
    with redis.Redis.from_url(servers.valkey.url) as client:
        client.flushall()
    prefix = f"bench-{number}-"
    fill(
        servers.kafka.bootstrap_servers, prefix=prefix, trades=trades, symbols=symbols, per_s=per_s
    )
    environment = {
        **os.environ,
        "PIPELINE_POSTGRES__DSN": dsn,
        "PIPELINE_REDIS__URL": servers.valkey.url,
        "PIPELINE_KAFKA__BOOTSTRAP_SERVERS": servers.kafka.bootstrap_servers,
        "PIPELINE_KAFKA__TOPIC_PREFIX": prefix,
        "PIPELINE_ARCHIVE__ENABLED": "false",
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{module}", str(trades)],
        env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    rate, peak_mib = watch(process, trades)
    lost, duplicated = count(dsn, trades, table=TABLES.get(module, OURS))
    row = Row(name, trades, rate, lost, duplicated, peak_mib, note)
    say(row.markdown())
    return row


def watch(process: subprocess.Popen, trades: int) -> tuple[float, float]:
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
    process.wait(30)
    return trades / (done - begun), peak / 2**20


def count(dsn: str, trades: int, *, table: str) -> tuple[int, int]:
    """Return how many trades are missing, and how many rows are there twice."""
    with psycopg.connect(dsn) as connection:
        rows, distinct = connection.execute(
            f"SELECT count(*), count(DISTINCT (pod_index, epoch, seq)) FROM {table}"
        ).fetchone()
    return trades - distinct, rows - distinct


def machine() -> str:
    """Describe where it was measured."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{psutil.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, "
        f"{datetime.now(UTC):%Y-%m-%d}"
    )


def main() -> None:
    """Run what was asked for and write RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=200_000)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--slow-trades", type=int, default=20_000, help="for the row-at-a-time one")
    parser.add_argument("--without-quix", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as home, running(Path(home)) as servers:
        common = {"symbols": options.symbols}
        rows = [
            contest(servers, f"ray-pipeline, {per_s:,} trades a second of event time",
                    module="ours", trades=options.trades, per_s=per_s, **common)
            for per_s in (20_000, 1_000)
        ]  # fmt: skip
        rows.append(
            contest(servers, "row at a time", module="row_at_a_time", trades=options.slow_trades,
                    per_s=20_000, note="INSERT, commit, two SETs a message", **common)
        )  # fmt: skip
        if not options.without_quix:
            rows.append(
                contest(servers, "Quix Streams, PostgreSQL and Redis sinks", module="quix",
                        trades=options.trades, per_s=20_000, note="at least once", **common)
            )  # fmt: skip
    table = "\n".join(row.markdown() for row in rows)
    options.out.write_text(TEXT.format(machine=machine(), table=table, trades=options.trades))
    say(f"written to {options.out.name}")


TEXT = """# Measurements

{machine}. Everything on one machine: broker, databases, the consumer. Made by

    make bench ARGS="--trades {trades}"

## One consumer process, both stores

From the first poll of a full topic to the last commit in Postgres and the last write in Redis.

| consumer | trades | rows/s | lost | duplicated | peak MiB | |
|---|---|---|---|---|---|---|
{table}

The aim is 70,000 rows/s and more. Where it is missed: broker, Postgres, Valkey and consumer share
two cores,
and the consumer's own work (decoding, COPY text, bars: about 9 µs a record) takes one
of them. A thousand trades a second over 500 symbols means nearly one bar of a second for every two
trades, which is what the second row pays for.

Not measured yet: latency through the whole chain, the highest rate the whole chain sustains, CPU by
stage, memory of the actors over time.
"""


if __name__ == "__main__":
    main()

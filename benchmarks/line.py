"""
The whole chain, each part in a process: simulator, producer, broker, consumer, Postgres, Redis.

It has one connection and one shard, as a producer actor has. Ray is left out: it moves no records.
"""

import contextlib
import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg

from benchmarks.processes import started
from benchmarks.servers import Servers

START_S = 60.0
DRAIN_S = 120.0
STORED = "SELECT coalesce(sum(stored), 0)::bigint FROM stream_sequences WHERE feed = 'sp500'"
ROWS = "SELECT count(*) FROM sp500_websocket_trades"
SETTINGS = {
    "PIPELINE_API_KEYS": '{"finnhub": ["bench"]}',
    "PIPELINE_STREAMS__MARKET_HOURS": "always",
    "PIPELINE_STREAMS__SUBSCRIBE_PAUSE_S": "0",
    "PIPELINE_STREAMS__SUBSCRIBE_REST_S": "0",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A running chain."""

    control_url: str
    consumer: "subprocess.Popen[str]"
    pids: dict[str, int]
    connection: psycopg.Connection[tuple[int]]

    def set_rate(self, per_s: int) -> None:
        """Set the records per second of the simulator."""
        body = json.dumps({"rate": per_s}).encode()
        _ask(f"{self.control_url}/rate", body)

    def sent(self) -> int:
        """Return how many records the simulator has written to the socket."""
        return int(_ask(f"{self.control_url}/stats")["sent"])

    def stored(self) -> int:
        """Return how many records Postgres has committed."""
        return self._count(STORED)

    def drain(self) -> int:
        """Stop sending, wait until all records are stored; return the number of missing rows."""
        self.set_rate(0)
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: self.stored() >= self.sent(), "everything is stored", DRAIN_S)
        return self.sent() - self._count(ROWS)

    def _count(self, query: LiteralString) -> int:
        row = self.connection.execute(query).fetchone()
        return row[0] if row else 0


@contextlib.contextmanager
def flowing(servers: Servers, *, per_s: int, samples: Path | None = None) -> Iterator[Line]:
    """Run a chain on these servers during a block, which begins after the first stored record."""
    dsn = servers.database(f"bench_{time.monotonic_ns()}")
    common = {**servers.settings(dsn), **SETTINGS}
    consume = ["-m", "benchmarks.consume", *([str(samples)] if samples else [])]
    simulate = ["-m", "ray_pipeline.simulators", "finnhub", "--rate", str(per_s),
                "--until-stdin-ends"]  # fmt: skip
    with contextlib.ExitStack() as cleanup:
        connection = cleanup.enter_context(psycopg.connect(dsn, autocommit=True))
        # They end in reverse order: first the producer, last the consumer, which then has all.
        consumer = cleanup.enter_context(started(consume, common, home=servers.home))
        _first_line(consumer)
        simulator = cleanup.enter_context(started(simulate, {}, home=servers.home))
        addresses = json.loads(_first_line(simulator))
        common["PIPELINE_FINNHUB__WS_URL"] = addresses["url"]
        producer = cleanup.enter_context(
            started(["-m", "benchmarks.produce"], common, home=servers.home)
        )
        pids = {
            "simulator": simulator.pid,
            "producer": producer.pid,
            "broker": _pid(servers.kafka),
            "consumer": consumer.pid,
            "Postgres": _pid(servers.postgres),
            "Redis": _pid(servers.valkey),
        }
        line = Line(addresses["control_url"], consumer, pids, connection)
        wait_for(lambda: line.stored() > 0, "the first record is stored", START_S)
        yield line


def wait_for(condition: Callable[[], bool], condition_name: str, timeout_s: float) -> None:
    """
    Wait until a condition holds.

    Raises:
        TimeoutError: If it does not hold in time.
    """
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not within {timeout_s:g} s: {condition_name}")
        time.sleep(0.1)


def _pid(server: object) -> int:
    return server.process.identity.pid  # type: ignore[attr-defined]


def _first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args} ended while starting")
    return line


def _ask(url: str, body: bytes | None = None) -> dict[str, int]:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return dict(json.load(answer))

"""Everything that a chaos run starts: servers, links between the parts, and the parts."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psycopg

from ray_pipeline.local.kafka.kraft import KafkaServer
from ray_pipeline.local.ports import HOST
from ray_pipeline.local.servers import PostgresServer, ValkeyServer
from ray_pipeline.settings import load
from ray_pipeline.storage.kafka.broker import ensure_topics
from ray_pipeline.storage.migrations import migrate
from tests.chaos.link import Link
from tests.chaos.processes import Child, environment

SHARDS = (1, 2, 3)
CONSUMERS = {"consumer-a": [0, 1], "consumer-b": [2]}
SYMBOLS = tuple(f"{letter}{number:02d}" for letter in "ABC" for number in range(1, 13))
LINKS = {
    "producers-venue": "venue",
    "producers-kafka": "kafka-producers",
    "producers-postgres": "postgres",
    "consumers-kafka": "kafka-consumers",
    "consumers-postgres": "postgres",
    "consumers-redis": "redis",
}
LEASE_TTL_S = 5.0
LIVENESS_S = 10.0
STREAMS = {
    "PIPELINE_STREAMS__MARKET_HOURS": "always",
    "PIPELINE_STREAMS__LEASE_TTL_S": str(LEASE_TTL_S),
    "PIPELINE_STREAMS__LIVENESS_S": str(LIVENESS_S),
    "PIPELINE_STREAMS__BACKOFF_BASE_S": "0.2",
    "PIPELINE_STREAMS__BACKOFF_CAP_S": "2",
    "PIPELINE_STREAMS__SUBSCRIBE_PAUSE_S": "0.005",
    "PIPELINE_STREAMS__SUBSCRIBE_REST_S": "0.02",
    "PIPELINE_STREAMS__CONNECT_PAUSE_S": "0.05",
}


class ProxiedKafka(KafkaServer):
    """A broker with a listener for producers and one for consumers, each behind a link."""

    def __init__(self, directory: Path, *, advertised: Mapping[str, Link]) -> None:
        super().__init__(directory, protocols=tuple(advertised), java_options=("-Xmx512m",))
        self._advertised = advertised

    def settings(self) -> dict[str, str]:
        """Advertise the ports of the links, so that clients never bypass them."""
        listeners = {name: f"{HOST}:{link.port}" for name, link in self._advertised.items()}
        listeners["PLAINTEXT"] = self.listener("PLAINTEXT")
        protocols = ("CONTROLLER", *listeners)
        return super().settings() | {
            "advertised.listeners": ",".join(
                f"{n}://{address}" for n, address in listeners.items()
            ),
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in protocols),
        }


@dataclass(slots=True)
class Venue:
    """The venue's process."""

    process: "subprocess.Popen[str]"
    port: int
    control_url: str
    log: Path

    async def control(self, action: str, **arguments: object) -> None:
        """Ask for a fault of the simulator."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.control_url}/{action}", json=arguments) as response,
        ):
            response.raise_for_status()

    async def sent(self) -> int:
        """Return how many trades it has written to sockets."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.control_url}/stats") as response,
        ):
            return int((await response.json())["sent"])


@dataclass(slots=True)
class Stack:
    """A running pipeline with everything around it."""

    directory: Path
    postgres: PostgresServer
    redis: ValkeyServer
    kafka: ProxiedKafka
    links: dict[str, Link]
    venue: Venue
    children: dict[str, Child] = field(default_factory=dict)

    def through(self, link: str) -> str:
        """Return the address of a link."""
        return f"{HOST}:{self.links[link].port}"

    def environment(self, group: str) -> dict[str, str]:
        """Return the settings of a group of processes, whose ways all lead through its links."""
        dsn = self.postgres.dsn.replace(self.postgres.address, self.through(f"{group}-postgres"))
        redis_url = self.redis.url
        if f"{group}-redis" in self.links:
            redis_url = redis_url.replace(self.redis.address, self.through(f"{group}-redis"))
        keys = {"finnhub": [f"shard-{shard}" for shard in SHARDS]}
        values = {
            "PIPELINE_HOME": str(self.directory / "home"),
            "PIPELINE_POSTGRES__DSN": dsn,
            "PIPELINE_REDIS__URL": redis_url,
            "PIPELINE_ARCHIVE__ENABLED": "false",
            "PIPELINE_API_KEYS": json.dumps(keys),
            "PIPELINE_FEEDS__SP500__SHARDS": str(len(SHARDS)),
            **STREAMS,
        }
        if f"{group}-kafka" in self.links:
            values["PIPELINE_KAFKA__BOOTSTRAP_SERVERS"] = self.through(f"{group}-kafka")
        if f"{group}-venue" in self.links:
            url = f"ws://{self.through(f'{group}-venue')}"
            values["PIPELINE_FINNHUB__WS_URL"] = url
        return values

    def add(self, name: str, role: str, argument: str, group: str, **values: str) -> Child:
        """Describe a process of the pipeline; nothing is started."""
        child = Child(
            name,
            ["-m", "tests.chaos.child", role, argument],
            self.environment(group) | values,
            self.directory,
        )
        self.children[name] = child
        return child


def say(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)


@contextlib.asynccontextmanager
async def running(directory: Path, *, rate: float, seed: int) -> AsyncIterator[Stack]:
    """Start servers, links, venue and processes; end exactly these after the block."""
    async with contextlib.AsyncExitStack() as cleanup:
        stack = await _servers(directory, cleanup, rate=rate, seed=seed)
        cleanup.push_async_callback(_end_children, stack)
        await _prepare_database(stack)
        for shard in SHARDS:
            spool = {"PIPELINE_STREAMS__SPOOL_DIR": str(directory / "spool")}
            stack.add(f"producer-{shard}", "producer", str(shard), "producers", **spool)
        for name, partitions in CONSUMERS.items():
            stack.add(name, "consumer", json.dumps(partitions), "consumers")
        for child in stack.children.values():
            child.start()
        yield stack


async def _servers(
    directory: Path, cleanup: contextlib.AsyncExitStack, *, rate: float, seed: int
) -> Stack:
    postgres = PostgresServer(directory / "postgres", durable=False)
    redis = ValkeyServer(directory / "valkey")
    venue = _start_venue(directory, cleanup, rate=rate, seed=seed)
    kafka: ProxiedKafka

    def target(name: str) -> tuple[str, int]:
        ports = {
            "venue": venue.port,
            "postgres": postgres.port,
            "redis": redis.port,
            "kafka-producers": kafka.ports.numbers[1],
            "kafka-consumers": kafka.ports.numbers[2],
        }
        return HOST, ports[name]

    links = {name: Link(name, lambda end=end: target(end)) for name, end in LINKS.items()}
    for link in links.values():
        await link.open()
        cleanup.push_async_callback(link.close)
    kafka = ProxiedKafka(
        directory / "kafka",
        advertised={"PRODUCERS": links["producers-kafka"], "CONSUMERS": links["consumers-kafka"]},
    )
    for server in (postgres, redis, kafka):
        cleanup.push_async_callback(asyncio.to_thread, server.stop)
        await asyncio.to_thread(server.start)
    return Stack(directory, postgres, redis, kafka, links, venue)


def _start_venue(
    directory: Path, cleanup: contextlib.AsyncExitStack, *, rate: float, seed: int
) -> Venue:
    with (directory / "venue.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.venue", str(directory), str(rate), str(seed)],
            env=environment({}), cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=log, text=True, start_new_session=True,
        )  # fmt: skip
    cleanup.callback(_end_venue, process)
    assert process.stdout is not None
    addresses = json.loads(process.stdout.readline() or "{}")
    if not addresses:
        raise RuntimeError(f"the venue did not start; read {directory / 'venue.log'}")
    return Venue(process, addresses["port"], addresses["control_url"], directory / "sent.log")


def _end_venue(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


async def _prepare_database(stack: Stack) -> None:
    await migrate(stack.postgres.dsn)
    with psycopg.connect(stack.postgres.dsn, autocommit=True) as connection:
        connection.cursor().executemany(
            "INSERT INTO sp500_companies (symbol, company_name, is_member) VALUES (%s, %s, true)",
            [(symbol, f"Company {symbol}") for symbol in SYMBOLS],
        )
    configured = load(
        postgres={"dsn": stack.postgres.dsn},
        redis={"url": stack.redis.url},
        kafka={"bootstrap_servers": stack.kafka.bootstrap_servers},
    )
    await ensure_topics(configured)


async def _end_children(stack: Stack) -> None:
    for child in stack.children.values():
        await child.stop_restarting()
        child.kill()

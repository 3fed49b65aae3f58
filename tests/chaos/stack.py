"""Everything that a chaos run starts: servers, links between the parts, and the parts."""

import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from ray_pipeline.errors import BrokerUnavailable
from ray_pipeline.local.ports import HOST, Reservation, reserve
from ray_pipeline.local.servers import PostgresServer, ValkeyServer
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.registry import all_providers
from ray_pipeline.settings import load
from ray_pipeline.storage.kafka.topics import ensure_topics
from ray_pipeline.storage.migrations import migrate
from tests.chaos import slots
from tests.chaos.clocks import Clocks, compile_library
from tests.chaos.link import Link
from tests.chaos.processes import Child, in_thread
from tests.chaos.servers import ProxiedKafka
from tests.chaos.simulator_process import SimulatorProcess, start_simulator
from tests.chaos.spool_disk import mount_disk
from tests.chaos.venue import CALLS_LOG, sent_log, stream_key

Stream = tuple[str, int]
"""A feed and one of its shards."""

SHARDS = (1, 2, 3)  # of sp500
# The streams of each producer process. The feeds with one connection share two processes.
PRODUCERS: dict[str, tuple[Stream, ...]] = {
    "producer-1": (("sp500", 1),),
    "producer-2": (("sp500", 2),),
    "producer-3": (("sp500", 3),),
    "producer-stocks": (("top_gainers", 0), ("etf", 1)),
    "producer-crypto": (("bithumb", 0), ("upbit", 0)),
}
STREAMS = tuple(stream for streams in PRODUCERS.values() for stream in streams)
FEEDS = tuple(dict.fromkeys(feed for feed, _ in STREAMS))
PRODUCER_OF = {stream: name for name, streams in PRODUCERS.items() for stream in streams}
# The partitions of each consumer process, by feed.
CONSUMERS: dict[str, dict[str, list[int]]] = {
    "consumer-a": {"sp500": [0, 1]},
    "consumer-b": {"sp500": [2]},
    "consumer-c": {feed: [0] for feed in FEEDS if feed != "sp500"},
}
# The streams that a venue sends; its link and its simulator have its name.
VENUES: dict[str, tuple[Stream, ...]] = {
    "finnhub": (*PRODUCERS["producer-1"], *PRODUCERS["producer-2"], *PRODUCERS["producer-3"],
                *PRODUCERS["producer-stocks"]),
    "bithumb": (("bithumb", 0),),
    "upbit": (("upbit", 0),),
}  # fmt: skip
# Two processes that contend for the quotas of the same providers.
RUNS = {
    "runs-a": "market_news_finnhub,coingecko_global,cpi,treasury_yield,bithumb_markets",
    "runs-b": "earnings_news_finnhub,coingecko_tickers,inflation,federal_funds_rate,company_news",
}
SCHEDULERS = ("scheduler-a", "scheduler-b")
SYMBOLS = tuple(f"{letter}{number:02d}" for letter in "ABC" for number in range(1, 13))
MOVERS = tuple(f"M{number:02d}" for number in range(1, 13))
ETFS = tuple(f"E{number:02d}" for number in range(1, 13))
LINKS = {
    **{f"producers-{venue}": venue for venue in VENUES},
    "producers-kafka": "kafka-producers",
    "producers-postgres": "postgres",
    "consumers-kafka": "kafka-consumers",
    "consumers-postgres": "postgres",
    "consumers-redis": "redis",
    "runs-providers": "providers",
    "runs-limiter": "limiter",
    "runs-postgres": "postgres",
}
LEASE_TTL_S = 5.0
TOPICS_S = 120.0  # from the start of a broker until it makes topics
LIVENESS_S = 10.0
KEYS_PER_PROVIDER = 2
SETTINGS = {
    "PIPELINE_ARCHIVE__ENABLED": "false",
    "PIPELINE_FEEDS__SP500__SHARDS": str(len(SHARDS)),
    "PIPELINE_STREAMS__MARKET_HOURS": "always",
    "PIPELINE_STREAMS__LEASE_TTL_S": str(LEASE_TTL_S),
    "PIPELINE_STREAMS__LIVENESS_S": str(LIVENESS_S),
    "PIPELINE_STREAMS__BACKOFF_BASE_S": "0.2",
    "PIPELINE_STREAMS__BACKOFF_CAP_S": "2",
    "PIPELINE_STREAMS__SUBSCRIBE_PAUSE_S": "0.005",
    "PIPELINE_STREAMS__SUBSCRIBE_REST_S": "0.02",
    "PIPELINE_STREAMS__CONNECT_PAUSE_S": "0.05",
    "PIPELINE_JOBS__HEARTBEAT_S": "2",
    "PIPELINE_JOBS__TAKEOVER_S": "30",
    "PIPELINE_JOBS__LONGEST_WAIT_S": "20",
    "PIPELINE_JOBS__RETRIES": str(slots.RETRIES),
    "PIPELINE_JOBS__RETRY_PAUSE_S": "2",
}


@dataclass(slots=True)
class Stack:
    """
    A running pipeline with everything around it.

    Attributes:
        spool_mounted: Whether the spool has a disk of its own, which can be filled.
        venue_closes: The connections that a fault has closed so far; each with the next code.
    """

    directory: Path
    postgres: PostgresServer
    redis: ValkeyServer
    kafka: ProxiedKafka
    links: dict[str, Link]
    venue: SimulatorProcess
    providers: SimulatorProcess
    clocks: Clocks
    spool_mounted: bool
    limiter_port: Reservation
    children: dict[str, Child] = field(default_factory=dict)
    venue_closes: list[str] = field(default_factory=list)

    @property
    def spool(self) -> Path:
        """Where producers keep records while the broker is away."""
        return self.directory / "spool"

    def sent_log(self, feed: str) -> Path:
        """Return the venue's log of what it sent of a feed."""
        return sent_log(self.directory, feed)

    @property
    def slots_log(self) -> Path:
        """The schedulers' log of the runs that they started."""
        return self.directory / "slots.log"

    @property
    def calls_logs(self) -> Sequence[Path]:
        """The logs of calls: of the providers, and of the venues' REST APIs."""
        logs = (self.directory / "calls.log", self.directory / CALLS_LOG)
        return [log for log in logs if log.exists()]

    def through(self, link: str) -> str:
        """Return the address of a link."""
        return f"{HOST}:{self.links[link].port}"

    def environment(self, group: str) -> dict[str, str]:
        """Return the settings of a group of processes: each address is that of a link."""
        address = self.through(f"{group}-postgres")
        values = {
            "PIPELINE_HOME": str(self.directory / "home"),
            "PIPELINE_POSTGRES__DSN": self.postgres.dsn.replace(self.postgres.address, address),
            "PIPELINE_API_KEYS": json.dumps(_keys()),
            "PIPELINE_STREAMS__SPOOL_DIR": str(self.spool),
            **SETTINGS,
        }
        if group == "runs":
            base = f"http://{self.through('runs-providers')}"
            urls = {p.name: f"{base}/{p.name}" for p in all_providers()}
            return values | {f"PIPELINE_{n.upper()}__REST_URL": url for n, url in urls.items()}
        values["PIPELINE_KAFKA__BOOTSTRAP_SERVERS"] = self.through(f"{group}-kafka")
        if group == "producers":
            return values | self._venue_addresses()
        redis_url = self.redis.url.replace(self.redis.address, self.through("consumers-redis"))
        return values | {"PIPELINE_REDIS__URL": redis_url}

    def _venue_addresses(self) -> dict[str, str]:
        finnhub, bithumb, upbit = (self.through(f"producers-{venue}") for venue in VENUES)
        return {
            "PIPELINE_FINNHUB__WS_URL": f"ws://{finnhub}",
            "PIPELINE_BITHUMB__WS_URL": f"ws://{bithumb}/websocket/v1",
            "PIPELINE_BITHUMB__REST_URL": f"http://{bithumb}",
            "PIPELINE_UPBIT__WS_URL": f"ws://{upbit}/websocket/v1",
            "PIPELINE_UPBIT__REST_URL": f"http://{upbit}",
        }

    async def make_topics(self) -> None:
        """Make the topics that are missing, as the supervisor does: until the broker answers."""
        configured = load(
            postgres={"dsn": self.postgres.dsn},
            redis={"url": self.redis.url},
            kafka={"bootstrap_servers": self.kafka.bootstrap_servers},
        )
        deadline_s = time.monotonic() + TOPICS_S
        while True:
            try:
                return await ensure_topics(configured)
            except BrokerUnavailable:
                if time.monotonic() > deadline_s:
                    raise

    def add(self, name: str, role: str, argument: str, *, group: str) -> None:
        """Describe a process of the pipeline; nothing is started."""
        arguments = ["-m", "tests.chaos.child", role, argument]
        values = {**self.environment(group), **self.clocks.values(name)}
        self.children[name] = Child(name, arguments, values, self.directory)


def _keys() -> dict[str, list[str]]:
    keys = {
        provider.name: [
            f"{provider.name}-key-{number}" for number in range(1, _key_count(provider) + 1)
        ]
        for provider in all_providers()
        if provider.needs_key
    }
    # The keys of connections are in the order of the feeds' ranks and of their shards.
    return keys | {"finnhub": [stream_key(stream) for stream in VENUES["finnhub"]]}


def _key_count(provider: Provider) -> int:
    # The providers' log has the token of a login, and both logins would have the same token.
    return 1 if provider.auth == "login" else KEYS_PER_PROVIDER


def say(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)


@contextlib.asynccontextmanager
async def running(directory: Path, *, rate: float, seed: int) -> AsyncIterator[Stack]:
    """Start servers, links, simulators and processes; end exactly these after the block."""
    async with contextlib.AsyncExitStack() as cleanup:
        stack = await _servers(directory, cleanup, rate=rate, seed=seed)
        cleanup.push_async_callback(_end_children, stack)
        await _prepare_database(stack)
        _describe_children(stack)
        stack.limiter_port.release()
        for child in stack.children.values():
            child.start()
        yield stack


def _describe_children(stack: Stack) -> None:
    for name, streams in PRODUCERS.items():
        stack.add(name, "producer", json.dumps(streams), group="producers")
    for name, partitions in CONSUMERS.items():
        stack.add(name, "consumer", json.dumps(partitions), group="consumers")
    stack.add("limiter", "limiter", str(stack.limiter_port.ports[0]), group="runs")
    for name, jobs in RUNS.items():
        stack.add(name, "runs", f"{stack.through('runs-limiter')},{jobs}", group="runs")
    for name in SCHEDULERS:
        stack.add(name, "scheduler", str(stack.slots_log), group="runs")


async def _servers(
    directory: Path, cleanup: contextlib.AsyncExitStack, *, rate: float, seed: int
) -> Stack:
    postgres = PostgresServer(directory / "postgres", durable=False)
    redis = ValkeyServer(directory / "valkey")
    venue = start_simulator("venue", directory, str(rate), str(seed))
    cleanup.callback(venue.end_now)
    providers = start_simulator("provider", directory)
    cleanup.callback(providers.end_now)
    limiter_port = cleanup.enter_context(reserve())

    def port_of(name: str) -> int:
        return {
            **venue.ports,
            "providers": providers.ports["rest"],
            "postgres": postgres.port,
            "redis": redis.port,
            "limiter": limiter_port.ports[0],
            "kafka-producers": kafka.ports.numbers[1],
            "kafka-consumers": kafka.ports.numbers[2],
        }[name]

    links = {name: Link(name, lambda end=end: (HOST, port_of(end))) for name, end in LINKS.items()}
    for link in links.values():
        await link.open()
        cleanup.push_async_callback(link.close)
    advertised = {"PRODUCERS": links["producers-kafka"], "CONSUMERS": links["consumers-kafka"]}
    kafka = ProxiedKafka(directory / "kafka", advertised=advertised)
    for server in (postgres, redis, kafka):
        cleanup.push_async_callback(in_thread, server.stop)
        await in_thread(server.start)
    clocks = Clocks(directory, compile_library(directory))
    mounted = mount_disk(directory / "spool")
    return Stack(
        directory, postgres, redis, kafka, links, venue, providers, clocks, mounted, limiter_port
    )


async def _prepare_database(stack: Stack) -> None:
    await migrate(stack.postgres.dsn)
    with psycopg.connect(stack.postgres.dsn, autocommit=True) as connection:
        connection.cursor().executemany(
            "INSERT INTO sp500_companies (symbol, company_name) VALUES (%s, %s)",
            [(symbol, f"Company {symbol}") for symbol in SYMBOLS],
        )
        connection.cursor().executemany(
            "INSERT INTO top_gainers (batch_id, last_updated, symbol, category, rank_position) "
            "VALUES (1, now() AT TIME ZONE 'UTC', %s, 'top_gainers', %s)",
            [(symbol, rank) for rank, symbol in enumerate(MOVERS, 1)],
        )
        connection.cursor().executemany(
            "INSERT INTO etf_basic_info (symbol, name, popularity_rank) VALUES (%s, %s, %s)",
            [(symbol, f"Fund {symbol}", rank) for rank, symbol in enumerate(ETFS, 1)],
        )
        for create in slots.ENDS:
            connection.execute(create)
    await stack.make_topics()


async def _end_children(stack: Stack) -> None:
    for child in stack.children.values():
        await child.stop_restarting()
        child.kill()

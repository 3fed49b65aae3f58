"""The databases and the fake provider that the fuzz runs share."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg

from ray_pipeline.catalog import job
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.local.servers import PostgresServer
from ray_pipeline.simulators.rest import RestOptions
from tests.fuzz.feed_fuzz import FeedFuzzer, neighbours_of
from tests.fuzz.job_fuzz import JobFuzzer, LogLines, foreign_bodies, fuzz_settings, limited
from tests.fuzz.provider import MutatingProvider
from tests.fuzz.recorded_input import answers_of_job, frames_of_venue
from tests.support import PAYLOADS


@contextmanager
def copied_database(server: PostgresServer, template: str) -> Iterator[str]:
    """Copy a database for the duration of a block, and return the address of the copy."""
    name = f"{template}_copy"
    with psycopg.connect(server.database("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        try:
            yield server.database(name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@asynccontextmanager
async def job_fuzzer(name: str, dsn: str) -> AsyncIterator[JobFuzzer]:
    """Open the fuzzer of a job on a database with the inputs of all jobs."""
    logged = LogLines()
    options = RestOptions(payloads=PAYLOADS if PAYLOADS.exists() else None)
    async with MutatingProvider(options) as provider:
        with logged.attached():
            settings = fuzz_settings(dsn, provider)
            foreign = foreign_bodies(PAYLOADS)
            recorded = answers_of_job(job(name), PAYLOADS)
            yield JobFuzzer(limited(job(name)), settings, provider, recorded, foreign, logged)


def feed_fuzzer(name: str, dsn: str) -> FeedFuzzer:
    """Return the fuzzer of a feed on a database with the schema."""
    feed = feed_named(name)
    originals = [frame.body for frame in frames_of_venue(feed, PAYLOADS)]
    return FeedFuzzer(feed, dsn, neighbours_of(feed), originals, foreign_bodies(PAYLOADS))

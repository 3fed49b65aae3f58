"""A database in which every job has requests to make."""

import asyncio
from collections.abc import Iterator

import psycopg
import pytest

from ray_pipeline.local.servers import PostgresServer
from tests.fuzz.corpus import copied_database
from tests.fuzz.job_fuzz import fill_inputs

TEMPLATE = "fuzz_inputs"


@pytest.fixture(scope="session")
def filled_template(postgres_server: PostgresServer, migrated_template: str) -> str:
    """The name of a database with the inputs of all jobs, from which tests copy theirs."""
    with psycopg.connect(postgres_server.database("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE} TEMPLATE {migrated_template}")
    asyncio.run(fill_inputs(postgres_server.database(TEMPLATE)))
    return TEMPLATE


@pytest.fixture
def filled_dsn(postgres_server: PostgresServer, filled_template: str) -> Iterator[str]:
    """A database for this test only, with the inputs of all jobs."""
    with copied_database(postgres_server, filled_template) as dsn:
        yield dsn

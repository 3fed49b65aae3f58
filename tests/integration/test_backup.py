"""A backup while records flow; a restore that goes on from Kafka, each record once."""

import os
import subprocess
import sys
from datetime import timedelta

import pytest

from ray_pipeline.batch.permits import NotBefore, Permit
from ray_pipeline.errors import ConfigurationError, PipelineError
from ray_pipeline.local.pg_dump import backup, restore
from ray_pipeline.storage.audit_facts import run_audit
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.leases import Leases
from ray_pipeline.storage.postgres.ledger import CLOCK_S, Ledger
from ray_pipeline.storage.postgres.quota_rows import read_quotas
from tests.streams import (
    consuming,
    identities,
    make_settings,
    publish,
    rows,
    trades,
    wait_stored,
)

HOLDER = {"holder": "somebody", "generation": 1, "ttl_s": 60.0}


async def test_a_restored_database_stores_the_rest_from_kafka_and_nothing_twice(
    postgres_dsn, empty_dsn, redis_url, kafka_server, topic_prefix, tmp_path
):
    """What came after the backup is gone with the old database, and comes again."""
    first, second = [
        make_settings(dsn, redis_url, kafka_server.bootstrap_servers, topic_prefix)
        for dsn in (postgres_dsn, empty_dsn)
    ]
    file = tmp_path / "pipeline.dump"
    leases = Leases(postgres_dsn)
    old = await leases.acquire("producer/sp500/1", **HOLDER)
    await leases.close()
    sent = trades(400, shards=1)
    await publish(first, sent)
    async with consuming(first):
        await wait_stored(postgres_dsn, 400)
        assert await backup(postgres_dsn, file) == file.stat().st_size
        later = trades(300, shards=1, start=401)
        await publish(first, later)
        await wait_stored(postgres_dsn, 700)

    assert await restore(empty_dsn, file) > 30
    assert len(identities(empty_dsn)) == 400
    async with consuming(second):
        await wait_stored(empty_dsn, 700)

    assert identities(empty_dsn) == identities(postgres_dsn)
    (bars,) = rows(empty_dsn, "SELECT sum(trades) FROM bars WHERE interval_s = 60")
    assert bars == (700,)
    assert (await run_audit(second, wait_s=5)).clean
    # Epochs that somebody may have had after the backup are not given out again.
    leases = Leases(empty_dsn)
    new = await leases.acquire("producer/sp500/1", **HOLDER)
    await leases.close()
    assert old is not None
    assert new is not None
    assert new.epoch > old.epoch + 1_000


async def test_a_restored_ledger_counts_open_windows_as_used_up(postgres_dsn, empty_dsn, tmp_path):
    """It lacks the calls that were made after the backup."""
    file = tmp_path / "pipeline.dump"
    keys = {"alpha_vantage": ["known"], "bithumb": [""]}
    async with session(postgres_dsn, name="test") as connection:
        before = await Ledger(connection, keys).acquire("alpha_vantage", job="j", sweep=False)
    await backup(postgres_dsn, file)
    await restore(empty_dsn, file)

    async with session(empty_dsn, name="test") as connection:
        ledger = Ledger(connection, keys | {"alpha_vantage": ["added later"]})
        after = await ledger.acquire("alpha_vantage", job="j", sweep=False)
        (day,) = [
            row
            for row in await read_quotas(connection, {"alpha_vantage": ["known"]})
            if row.window == "25/day"
        ]
        await connection.execute(
            "UPDATE quota_restores SET restored_at = now() - interval '2 days'"
        )
        later = await ledger.acquire("alpha_vantage", job="j", sweep=False)

    assert isinstance(before, Permit)
    assert isinstance(after, NotBefore)
    assert after.reason == "25/day: the calls between the backup and its restore are unknown"
    assert after.moment == day.resets_at + timedelta(seconds=CLOCK_S)
    assert (day.used, day.left) == (25, 0)
    assert isinstance(later, Permit)


async def test_nothing_is_restored_over_something_nor_from_nothing(
    postgres_dsn, empty_dsn, tmp_path
):
    file = tmp_path / "pipeline.dump"
    await backup(postgres_dsn, file)
    with pytest.raises(ConfigurationError, match="not empty"):
        await restore(postgres_dsn, file)
    with pytest.raises(ConfigurationError, match="no file"):
        await restore(empty_dsn, tmp_path / "gone.dump")
    file.write_bytes(file.read_bytes()[:5_000])
    with pytest.raises(PipelineError, match="pg_restore"):
        await restore(empty_dsn, file)
    assert rows(empty_dsn, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


async def test_a_backup_that_fails_leaves_no_file(tmp_path):
    """And the password is in no message, and among no arguments."""
    with pytest.raises(PipelineError) as caught:
        await backup("postgresql://u:planted-4711@127.0.0.1:1/db", tmp_path / "a.dump")
    assert "planted-4711" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_commands_say_what_they_did(postgres_dsn, empty_dsn, tmp_path):
    """As an operator types them."""
    file = tmp_path / "pipeline.dump"

    def run(*arguments: str, dsn: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "ray_pipeline.cli.main", *arguments],
            env=os.environ | {"PIPELINE_POSTGRES__DSN": dsn},
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    done = run("backup", str(file), dsn=postgres_dsn)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{file}: " in done.stdout
    done = run("restore", str(file), dsn=empty_dsn)
    assert done.returncode == 0, done.stderr
    assert "restored" in done.stdout
    assert "open quota windows count as used up" in done.stdout
    assert "Wikipedia" in done.stdout
    again = run("restore", str(file), dsn=empty_dsn)
    assert again.returncode != 0
    assert "not empty" in again.stderr

"""A database that answers and refuses: waited out, named with its fix, and over without help."""

import psycopg
import pytest

from ray_pipeline.observe.why_feed import explain_feed
from ray_pipeline.simulators.finnhub import FinnhubOptions, FinnhubSimulator
from ray_pipeline.storage.audit_facts import run_audit
from ray_pipeline.storage.doctor_facts import examine
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.status_rows import read_status
from tests.integration.test_recorded_input import add_companies, collecting, pointed
from tests.streams import (
    consuming,
    identities,
    make_settings,
    publish,
    rows,
    stored,
    trades,
    wait_stored,
)
from tests.support import eventually

OUTAGE_S = 9  # longer than two leases, and than every retry of the consumer
HEARTBEAT_AGE = "SELECT extract(epoch FROM now() - max(heartbeat_at)) FROM {}"


@pytest.fixture
def configured(own_postgres, redis_url, kafka_server, topic_prefix):
    """A pipeline of this test's own."""
    return make_settings(
        own_postgres.dsn, redis_url, kafka_server.bootstrap_servers, topic_prefix,
        market_hours="always", connect_pause_s=0, subscribe_pause_s=0, subscribe_rest_s=0,
    )  # fmt: skip


def alter_system(dsn, statement):
    """Change a setting for every session, those that exist included."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement)
        connection.execute("SELECT pg_reload_conf()")


READ_ONLY = "ALTER SYSTEM SET default_transaction_read_only = on"
WRITABLE = "ALTER SYSTEM RESET default_transaction_read_only"


def heartbeat_age_s(dsn, table="consumer_state"):
    """Return how old the newest heartbeat is."""
    return float(rows(dsn, HEARTBEAT_AGE.format(table))[0][0])


async def page_of(configured):
    """Return the status page."""
    async with session(configured.postgres_dsn(), name="test") as connection:
        return await read_status(connection, configured, stream_keys={})


@pytest.mark.parametrize("quiet", [False, True], ids=["records arrive", "quiet topic"])
async def test_a_read_only_database_is_waited_out(
    configured, own_postgres, monkeypatch, tmp_path, quiet
):
    """Everything is stored afterwards; heartbeats, leases and the search for gaps continue."""
    dsn = own_postgres.dsn
    monkeypatch.setattr("ray_pipeline.stream.consumer_reports.MISSING_GRACE_S", 1.0)
    monkeypatch.setattr("ray_pipeline.stream.consumer_reports.MISSING_EVERY_S", 0.2)
    sent, lost = trades(3_000, shards=1), trades(10, shards=1, start=3_001)
    late = trades(50, shards=1, start=3_011)
    await publish(configured, sent[:1_000])
    async with consuming(configured) as service:
        await wait_stored(dsn, 1_000)
        alter_system(dsn, READ_ONLY)
        if not quiet:
            await publish(configured, sent[1_000:])
        await eventually(
            lambda: service.situation()[0] == "waiting for postgres", what="the fault to be noticed"
        )
        await eventually(lambda: heartbeat_age_s(dsn) > OUTAGE_S, what="a long outage")

        state, cause = service.situation()
        assert state == "waiting for postgres"
        assert "SQLSTATE 25006" in cause
        assert "default_transaction_read_only" in cause
        page = await page_of(configured)
        assert page.database.startswith("Postgres is read-only")
        (sp500,) = (row for row in page.feeds if row.feed == "sp500")
        assert page.database in explain_feed(sp500, page).sentence
        checks = {check.name: check for check in await examine(configured, home=tmp_path)}
        assert checks["postgres writes"].state == "failed"
        assert rows(dsn, "SELECT count(*) FROM dead_letters") == [(0,)]

        alter_system(dsn, WRITABLE)
        if quiet:
            await publish(configured, sent[1_000:])
        await wait_stored(dsn, len(sent))
        await eventually(lambda: heartbeat_age_s(dsn) < 2, what="a heartbeat")
        await eventually(lambda: service.situation() == ("storing", ""), what="the leases")
        assert (await page_of(configured)).database == ""
        await publish(configured, late)
        gap = await eventually(
            lambda: rows(dsn, "SELECT kind, first_seq, last_seq FROM gaps"), what="the gap"
        )
    assert gap == [("sequence", lost[0].seq, lost[-1].seq)]
    assert identities(dsn) == {(t.pod_index, t.epoch, t.seq) for t in sent + late}
    assert (await run_audit(configured, wait_s=10)).clean


FAULTS = {
    "rights": (
        "REVOKE INSERT ON sp500_websocket_trades FROM pipeline",
        "GRANT INSERT ON sp500_websocket_trades TO pipeline",
        "42501", "rights",
    ),
    "column": (
        "ALTER TABLE sp500_websocket_trades RENAME pod_name TO hidden",
        "ALTER TABLE sp500_websocket_trades RENAME hidden TO pod_name",
        "42703", "ray-pipeline migrate",
    ),
    "table": (
        "ALTER TABLE bars RENAME TO hidden", "ALTER TABLE hidden RENAME TO bars",
        "42P01", "ray-pipeline migrate",
    ),
    "full disk": (
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;"
        "CREATE TRIGGER full_disk BEFORE INSERT ON sp500_websocket_trades FOR EACH ROW "
        "EXECUTE FUNCTION full_disk()",
        "DROP TRIGGER full_disk ON sp500_websocket_trades",
        "53100", "free disk space",
    ),
    "lock": (
        "BEGIN; LOCK TABLE sp500_websocket_trades IN SHARE MODE",
        "COMMIT", "55P03", "pg_blocking_pids",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_schema_rights_disk_or_locks_is_waited_out(
    configured, own_postgres, fault
):
    """The heartbeat names cause and fix; nothing is parked, and nothing has to be restarted."""
    begin, end, code, fix = FAULTS[fault]
    dsn = own_postgres.dsn
    sent = trades(2_000)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE ROLE pipeline LOGIN PASSWORD 'x'")
        connection.execute("ALTER ROLE pipeline SET lock_timeout = 300")
        for kind in ("TABLES", "SEQUENCES"):
            connection.execute(f"GRANT ALL ON ALL {kind} IN SCHEMA public TO pipeline")
        limited = make_settings(
            psycopg.conninfo.make_conninfo(dsn, user="pipeline", password="x"),
            configured.redis_url(), configured.bootstrap_servers(), configured.kafka.topic_prefix,
        )  # fmt: skip
        await publish(configured, sent[:1_000])
        async with consuming(limited) as service:
            await wait_stored(dsn, 1_000)
            connection.execute(begin)
            await publish(configured, sent[1_000:])

            def causes():
                query = "SELECT cause FROM consumer_state WHERE cause LIKE %s"
                return rows(dsn, query, f"%{code}%")

            ((cause, *_), *_) = await eventually(causes, what="a heartbeat with the cause")
            assert fix in cause
            assert service.status.state in ("waiting for postgres", "waiting")
            connection.execute(end)
            await wait_stored(dsn, len(sent))
            await eventually(lambda: service.situation() == ("storing", ""), what="the end")
    assert rows(dsn, "SELECT count(*) FROM dead_letters") == [(0,)]
    assert (await run_audit(configured, wait_s=10)).clean


async def test_a_producer_keeps_what_it_collects_while_the_database_is_read_only(
    configured, own_postgres, tmp_path
):
    """Its records wait in the spool once the lease cannot be renewed; none is lost."""
    dsn = own_postgres.dsn
    add_companies(dsn)
    async with FinnhubSimulator(FinnhubOptions(rate=200)) as simulator:
        here = pointed(configured, tmp_path, finnhub={"ws_url": simulator.url})
        async with collecting(here, "sp500", 1, ["AAPL", "MSFT"]):
            await eventually(lambda: stored(dsn) > 20, timeout_s=40, what="the first trades")
            accepted, before = simulator.stats().accepted, stored(dsn)
            alter_system(dsn, READ_ONLY)
            await eventually(
                lambda: heartbeat_age_s(dsn, "producer_epochs") > OUTAGE_S, what="a long outage"
            )
            alter_system(dsn, WRITABLE)
            # 200 trades a second arrived meanwhile; those that wait are published first.
            goal = before + 100 * OUTAGE_S
            await eventually(
                lambda: stored(dsn) > goal, timeout_s=40, what="the trades of the outage"
            )
            assert simulator.stats().accepted == accepted
        audit = await run_audit(here, wait_s=10)
    assert audit.clean, audit.as_json()
    assert rows(dsn, "SELECT kind FROM gaps WHERE kind <> 'producer_down'") == []

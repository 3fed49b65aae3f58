"""Snapshots after reconnects and restarts: each trade is one row, and counts once in the bars."""

import pytest

from ray_pipeline.simulators.bithumb import BithumbSimulator
from ray_pipeline.simulators.options import Options
from ray_pipeline.simulators.upbit import UpbitSimulator
from ray_pipeline.storage.audit_facts import run_audit
from tests.integration.test_recorded_input import collecting, pointed
from tests.streams import make_settings, rows
from tests.support import eventually

MARKETS = ["KRW-BTC", "KRW-ETH"]


@pytest.fixture
def configured(postgres_dsn, redis_url, kafka_server, topic_prefix):
    """A pipeline of this test's own that reconnects at once."""
    return make_settings(
        postgres_dsn, redis_url, kafka_server.bootstrap_servers, topic_prefix,
        subscribe_pause_s=0, subscribe_rest_s=0, connect_pause_s=0, backoff_base_s=0.1,
        backoff_cap_s=0.2,
    )  # fmt: skip


def trades(dsn, table):
    """The number of rows of each trade."""
    return rows(
        dsn, f"SELECT market, trade_timestamp, count(*) FROM {table} GROUP BY 1, 2 ORDER BY 1, 2"
    )


@pytest.mark.parametrize(
    ("feed", "simulator_type"), [("bithumb", BithumbSimulator), ("upbit", UpbitSimulator)]
)
async def test_a_repeated_snapshot_is_stored_once(
    configured, postgres_dsn, tmp_path, feed, simulator_type
):
    """The connection breaks, then the producer and the consumer restart; then a trade happens."""
    table = f"{feed}_ticker"
    async with simulator_type(Options(rate=0, symbols=tuple(MARKETS))) as simulator:
        here = pointed(configured, tmp_path, **{feed: simulator.endpoint})

        async def subscriptions(count):
            await eventually(
                lambda: simulator.stats().accepted >= count, timeout_s=40, what="a connection"
            )

        async with collecting(here, feed, 0, MARKETS):
            await eventually(lambda: len(trades(postgres_dsn, table)) == 2, timeout_s=40)
            await simulator.do_close(code=1006)
            await subscriptions(2)
            await eventually(
                lambda: rows(postgres_dsn, "SELECT 1 FROM gaps WHERE kind = 'disconnected'"),
                what="the end of the gap",
            )
        async with collecting(here, feed, 0, MARKETS):
            await subscriptions(3)
            await eventually(
                lambda: rows(postgres_dsn, "SELECT 1 FROM stream_offsets WHERE redelivered >= 2"),
                what="the repeated snapshots",
            )
            assert [count for *_, count in trades(postgres_dsn, table)] == [1, 1]
        simulator._next("KRW-BTC")  # a trade that no connection delivers
        async with collecting(here, feed, 0, MARKETS):
            await eventually(lambda: len(trades(postgres_dsn, table)) == 3, timeout_s=40)

        assert [count for *_, count in trades(postgres_dsn, table)] == [1, 1, 1]
        assert rows(postgres_dsn, "SELECT sum(volume) FROM bars WHERE interval_s = 1") == rows(
            postgres_dsn, f"SELECT sum(trade_volume) FROM {table}"
        )
        audit = await run_audit(here, wait_s=10)
        assert audit.clean, audit.as_json()

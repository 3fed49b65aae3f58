"""A producer against a provider that misbehaves: data stored or parked, outages in gaps."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from ray_pipeline.simulators.finnhub import FinnhubOptions, FinnhubSimulator
from ray_pipeline.storage.audit_facts import run_audit
from tests.integration.test_recorded_input import add_companies, collecting, pointed
from tests.streams import make_settings, rows, stored
from tests.support import eventually, next_line

SYMBOLS = ["AAPL", "MSFT", "NVDA"]


@pytest.fixture
def configured(postgres_dsn, redis_url, kafka_server, topic_prefix):
    """A pipeline of this test's own that notices silence within a second or two."""
    return make_settings(
        postgres_dsn, redis_url, kafka_server.bootstrap_servers, topic_prefix,
        shards=1, subscribe_pause_s=0, subscribe_rest_s=0, connect_pause_s=0,
        market_hours="always", backoff_base_s=0.1, backoff_cap_s=0.5, liveness_s=1.0,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def flowing(configured, dsn, tmp_path):
    """A simulator whose trades arrive in Postgres; at the end the audit is clean."""
    add_companies(dsn)
    async with FinnhubSimulator(FinnhubOptions(rate=200)) as simulator:
        here = pointed(configured, tmp_path, finnhub={"ws_url": simulator.url})
        async with collecting(here, "sp500", 1, SYMBOLS):
            await eventually(lambda: stored(dsn) > 20, timeout_s=40, what="the first trades")
            yield simulator
        audit = await run_audit(here, wait_s=10)
        assert audit.clean, audit.as_json()


@contextlib.contextmanager
def venue_process():
    """Run a simulator as a process, which can be suspended; yield it and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ray_pipeline.simulators", "finnhub", "--until-stdin-ends"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process, json.loads(next_line(process, "the address of the simulator"))["url"]
    finally:
        process.kill()
        process.communicate(timeout=60)


async def more(dsn, count=50):
    """Wait until trades flow again."""
    goal = stored(dsn) + count
    await eventually(lambda: stored(dsn) >= goal, timeout_s=40, what="trades to flow again")


@pytest.mark.parametrize("code", [1000, 1006, 1011, 1012])
async def test_a_closed_connection_comes_back_and_is_in_gaps(
    configured, postgres_dsn, tmp_path, code
):
    """However it was closed."""
    async with flowing(configured, postgres_dsn, tmp_path) as simulator:
        await simulator.do_close(code=code)
        await more(postgres_dsn)

        await eventually(
            lambda: rows(postgres_dsn, "SELECT 1 FROM gaps WHERE kind = 'disconnected'"),
            what="the gap",
        )


async def test_silence_with_an_open_socket_is_noticed(configured, postgres_dsn, tmp_path):
    """Pings go on, data does not: the connection is made anew, the time is in gaps."""
    async with flowing(configured, postgres_dsn, tmp_path) as simulator:
        accepted = simulator.stats().accepted
        await simulator.do_silence(on=True, pings=True)
        await eventually(
            lambda: simulator.stats().accepted > accepted, timeout_s=40, what="a new connection"
        )
        await simulator.do_silence(on=False)
        await more(postgres_dsn)

        await eventually(lambda: rows(postgres_dsn, "SELECT 1 FROM gaps"), what="the gap")


async def test_a_venue_that_hangs_with_an_open_connection_is_noticed(
    configured, postgres_dsn, tmp_path
):
    """SIGSTOP: neither data nor pings arrive, and nothing closes the socket."""
    add_companies(postgres_dsn)
    with venue_process() as (venue, url):
        here = pointed(configured, tmp_path, finnhub={"ws_url": url})
        async with collecting(here, "sp500", 1, SYMBOLS) as producer:
            await eventually(
                lambda: stored(postgres_dsn) > 20, timeout_s=60, what="the first trades"
            )
            venue.send_signal(signal.SIGSTOP)
            try:
                await eventually(
                    lambda: producer.status()["state"] != "collecting",
                    timeout_s=60, what="the producer to notice the silence",
                )  # fmt: skip
                noticed_at = datetime.now(UTC)
                assert producer.status()["cause"]
            finally:
                resumed_at = datetime.now(UTC)
                venue.send_signal(signal.SIGCONT)
            await more(postgres_dsn)

            def whole_gap() -> bool:
                gaps = rows(postgres_dsn, "SELECT from_at, to_at FROM gaps WHERE to_at IS NOT NULL")
                return any(begin <= noticed_at and end >= resumed_at for begin, end in gaps)

            await eventually(whole_gap, what="a gap from the silence to the return of data")
        audit = await run_audit(here, wait_s=10)
        assert audit.clean, audit.as_json()


async def test_a_refused_connection_is_tried_again(configured, postgres_dsn, tmp_path):
    """429 three times, then it goes on."""
    async with flowing(configured, postgres_dsn, tmp_path) as simulator:
        await simulator.do_refuse(status=429, retry_after_s=0.2, count=3)
        await simulator.do_close(code=1006)
        # Rows that were on their way when the connection closed do not count as its return.
        await eventually(lambda: simulator.stats().refused == 3, what="three refusals")
        await more(postgres_dsn)

        assert simulator.stats().refused == 3


async def test_every_bad_frame_is_stored_or_parked_and_the_feed_goes_on(
    configured, postgres_dsn, tmp_path
):
    """Nothing is dropped in silence."""
    kinds = (
        "malformed", "truncated", "wrong_type", "unknown_type", "unsubscribed", "null_conditions",
        "long_price", "out_of_order", "future", "huge", "bad_trade",
    )  # fmt: skip
    async with flowing(configured, postgres_dsn, tmp_path) as simulator:
        for kind in kinds:
            await simulator.do_frame(kind)
        await more(postgres_dsn)

        def reasons():
            return {one for (one,) in rows(postgres_dsn, "SELECT reason FROM dead_letters")}

        wanted = {"not_json", "wrong_shape", "future_dated"}
        await eventually(lambda: reasons() >= wanted, what=f"{wanted}, has {reasons()}")
        assert rows(postgres_dsn, "SELECT 1 FROM sp500_websocket_trades WHERE symbol = 'NOBODY'")
        # The reasons above may all come from the frames before the last.
        surrogate = (
            "SELECT 1 FROM dead_letters "
            "WHERE position('ud800'::bytea IN payload) > 0 AND length(payload) < 60"
        )
        await eventually(lambda: rows(postgres_dsn, surrogate), what="the bad trade alone")
        assert rows(
            postgres_dsn,
            "SELECT 1 FROM sp500_websocket_trades "
            "WHERE price::text = '123456789012.12345678901234'",
        )
        assert rows(
            postgres_dsn, "SELECT 1 FROM sp500_websocket_trades WHERE trade_conditions IS NULL"
        )


async def test_symbols_change_by_the_difference(configured, postgres_dsn, tmp_path):
    """The symbol that stays loses no trade, and its connection stays too."""
    add_companies(postgres_dsn)
    async with FinnhubSimulator(FinnhubOptions(rate=200)) as simulator:
        here = pointed(configured, tmp_path, finnhub={"ws_url": simulator.url})
        async with collecting(here, "sp500", 1, SYMBOLS) as producer:
            await eventually(lambda: stored(postgres_dsn) > 20, timeout_s=40, what="trades")
            for index in range(10):
                producer.set_symbols(dict.fromkeys(["AAPL", f"NEW{index}"]))
                await asyncio.sleep(0)
            await eventually(
                lambda: list(simulator.stats().symbols_by_key.values()) == [["AAPL", "NEW9"]],
                what="the last symbols",
            )
            assert simulator.stats().accepted == 1
            await simulator.do_pause()
            sent = simulator.stats().sent_by_symbol["AAPL"]
            await eventually(
                lambda: (
                    rows(
                        postgres_dsn,
                        "SELECT count(*) FROM sp500_websocket_trades WHERE symbol = 'AAPL'",
                    )
                    == [(sent,)]
                ),
                what=f"{sent} trades of the one that stayed",
            )

"""What was recorded from the providers, through every part, into Postgres: exactly."""

import asyncio
import contextlib
import json
import zipfile
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from ray_pipeline.feeds import bithumb
from ray_pipeline.feeds.protocol import Arrival
from ray_pipeline.feeds.records import to_ms
from ray_pipeline.services.shard_wiring import build_producer
from ray_pipeline.settings import Settings
from ray_pipeline.simulators.bithumb import BithumbOptions, BithumbSimulator
from ray_pipeline.simulators.finnhub import FinnhubOptions, FinnhubSimulator
from ray_pipeline.simulators.recording import read
from ray_pipeline.storage.audit_facts import run_audit
from ray_pipeline.storage.kafka.topics import ensure_topics
from tests.streams import consuming, make_settings, rows, stored
from tests.support import PAYLOADS, eventually

pytestmark = pytest.mark.skipif(
    not PAYLOADS.exists(), reason="the recorded payloads are not beside this checkout"
)


@pytest.fixture
def configured(postgres_dsn, redis_url, kafka_server, topic_prefix):
    """A pipeline of this test's own, without the pauses that a real provider needs."""
    return make_settings(
        postgres_dsn, redis_url, kafka_server.bootstrap_servers, topic_prefix,
        shards=1, subscribe_pause_s=0, subscribe_rest_s=0, connect_pause_s=0,
        market_hours="always", backoff_base_s=0.1,
    )  # fmt: skip


def pointed(configured: Settings, spool: Path, **endpoints) -> Settings:
    """Settings that point at simulators."""
    return configured.changed(
        api_keys={"finnhub": ["key"]}, streams={"spool_dir": spool}, **endpoints
    )


@contextlib.asynccontextmanager
async def collecting(configured: Settings, feed: str, shard: int, symbols: list[str]):
    """A producer of exactly these symbols, and the consumer behind it."""
    await ensure_topics(configured)
    producer = await build_producer(configured, feed, shard)
    producer.set_symbols(dict.fromkeys(symbols))
    running = asyncio.create_task(producer.run())
    partitions = (0, 1, 2) if feed == "sp500" else (0,)
    try:
        async with consuming(configured, feed, partitions):
            yield producer
            await producer.stop(drain_s=10)
            await eventually(lambda: arrived(configured.postgres_dsn()), what="what was published")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def arrived(dsn: str) -> bool:
    """Say whether every number that the broker acknowledged has arrived."""
    return not rows(
        dsn,
        "SELECT 1 FROM producer_epochs AS p LEFT JOIN stream_sequences AS s "
        "USING (feed, shard, epoch) WHERE p.published >= coalesce(upper(s.seen), 1)",
    )


def add_companies(dsn: str) -> None:
    """One company is enough to keep the table from being filled: the symbols are given."""
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO sp500_companies (symbol, company_name) VALUES ('AAPL', 'Apple')"
        )


async def replay(configured: Settings, dsn: str, files: list[Path], spool: Path) -> int:
    """Send the files' frames through everything; return how many trades they hold."""
    frames = read(files)
    symbols = sorted({symbol for frame in frames for symbol in frame.symbols})
    count = sum(frame.trades for frame in frames)
    add_companies(dsn)
    options = FinnhubOptions(replay=tuple(files), speed=0)
    async with FinnhubSimulator(options) as simulator:
        here = pointed(configured, spool, finnhub={"ws_url": simulator.url})
        async with collecting(here, "sp500", 1, symbols):
            await eventually(lambda: simulator.stats().replayed, timeout_s=60, what="the replay")
            await eventually(lambda: stored(dsn) >= count, timeout_s=90, what=f"{count} trades")
        audit = await run_audit(here, wait_s=10)
        assert audit.clean, audit.as_json()
        assert simulator.stats().sent == count
    return count


def in_postgres(dsn: str) -> Counter:
    """Return the stored trades as written: symbol, price, volume, time, conditions."""
    return Counter(
        rows(
            dsn,
            "SELECT symbol, price::text, volume::text, timestamp_ms, "
            "array_to_string(trade_conditions, ',') FROM sp500_websocket_trades",
        )
    )


async def test_every_recorded_frame_of_finnhub(configured, postgres_dsn, tmp_path):
    """In number and in value; identical rows inside one frame are different trades."""
    files = sorted((PAYLOADS / "finnhub").glob("ws_*.jsonl"))
    wanted: Counter = Counter()
    for file in files:
        for line in file.read_text().splitlines():
            # Numbers stay the text that they are in the file.
            frame = json.loads(line, parse_float=str, parse_int=str)
            for trade in frame.get("data", []):
                conditions = ",".join(trade["c"]) if trade.get("c") is not None else None
                wanted[trade["s"], trade["p"], trade["v"], int(trade["t"]), conditions] += 1

    count = await replay(configured, postgres_dsn, files, tmp_path)

    assert in_postgres(postgres_dsn) == wanted
    assert count == sum(wanted.values()) == 80
    assert max(wanted.values()) > 1  # there are identical ones


def tick_rows(file: Path) -> list[str]:
    """Return the rows of a trade file, also of a compressed one."""
    if file.suffix == ".csv":
        return file.read_text().splitlines()
    with zipfile.ZipFile(file) as archive:
        (name,) = archive.namelist()
        return archive.read(name).decode().splitlines()


@pytest.mark.parametrize(
    ("pattern", "number"),
    [("*.csv", 48_892), ("full_day/*.zip", 127_948)],
    ids=["windows", "full-days"],
)
async def test_every_recorded_tick(configured, postgres_dsn, tmp_path, pattern, number):
    """Bursts of over 800 trades a second, whole sessions: every row of every file."""
    files = sorted((PAYLOADS / "ticks").glob(pattern))
    wanted: Counter = Counter()
    for file in files:
        words = file.stem.split("_")
        symbol, day = (words[-1], words[2]) if file.suffix == ".csv" else words[:2]
        midnight = datetime.strptime(day + " -0400", "%Y%m%d %z")  # New York, in October
        for line in tick_rows(file):
            ms, price, volume, _, condition, _ = line.split(",")
            at_ms = int(midnight.timestamp()) * 1000 + int(ms)
            wanted[symbol, Decimal(price) / 10_000, Decimal(volume), at_ms, condition] += 1

    count = await replay(configured, postgres_dsn, files, tmp_path)

    found = Counter(
        {
            (symbol, Decimal(price), Decimal(volume), at_ms, condition): number
            for (symbol, price, volume, at_ms, condition), number in in_postgres(
                postgres_dsn
            ).items()
        }
    )
    assert found == wanted
    assert count == sum(wanted.values()) == number


async def test_recorded_tickers_of_bithumb(configured, postgres_dsn, tmp_path):
    """Stamps are true epochs over the socket, dates are Korean; both arrive right."""
    frames = [json.loads((PAYLOADS / "bithumb" / "ws_ticker_doc.json").read_text())]
    frames += [
        frame
        for line in (PAYLOADS / "bithumb" / "ws_frames_cut_2026-09-23.jsonl")
        .read_text()
        .splitlines()
        if (frame := json.loads(line))["type"] == "ticker"
    ]
    recording = tmp_path / "tickers.jsonl"
    recording.write_text("".join(json.dumps(frame) + "\n" for frame in frames))

    options = BithumbOptions(replay=(recording,), speed=0)
    async with BithumbSimulator(options) as simulator:
        urls = {"ws_url": simulator.ws_url, "rest_url": "http://127.0.0.1:1"}
        here = pointed(configured, tmp_path / "spool", bithumb=urls)
        async with collecting(here, "bithumb", 0, ["KRW-BTC"]):
            await eventually(
                lambda: stored(postgres_dsn, "bithumb_ticker") == 2,
                timeout_s=60,
                what="two tickers",
            )

    found = rows(
        postgres_dsn,
        "SELECT market, trade_price::text, trade_date, trade_time, trade_date_kst, trade_time_kst, "
        "trade_timestamp, timestamp_field FROM bithumb_ticker ORDER BY timestamp_field",
    )
    documented = ("493100", "20240910", "001617", "20240910", "091617")
    recorded = ("116208000", "20260923", "031833", "20260923", "121833")
    assert found == [
        ("KRW-BTC", *documented, 1725927377820, 1725927377931),
        ("KRW-BTC", *recorded, 1790133513858, 1790133514044),
    ]
    assert rows(postgres_dsn, "SELECT trade_price FROM bithumb_ticker_latest") == [(116208000,)]


@pytest.mark.parametrize(
    ("file", "trade_ms", "stamp_ms", "utc", "kst"),
    [
        ("v1_ticker_KRW-BTC_2025-08-13.json", 1755082091502, 1755082093840, "20250813", "20250813"),
        ("v1_ticker_KRW-BTC_2025-08-26.json", 1756135627954, 1756135632646, "20250825", "20250826"),
    ],
)
def test_recorded_answers_of_bithumb(file, trade_ms, stamp_ms, utc, kst):
    """Over REST dates are UTC, and the trade's stamp is Korean wall time written as an epoch."""
    (raw,) = bithumb.parse_answer((PAYLOADS / "bithumb" / file).read_bytes())

    now = datetime.now(UTC)
    arrival = Arrival(0, "bithumb-00", 1, now, to_ms(now), to_ms(now) + 300_000)
    ticker = bithumb.ticker(raw, arrival, 1)

    assert (ticker.trade_timestamp, ticker.timestamp_field) == (trade_ms, stamp_ms)
    assert (ticker.trade_date, ticker.trade_date_kst) == (utc, kst)

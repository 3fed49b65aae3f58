"""`ray_pipeline.connect()` over real stores, and over the API of the same: the same frames."""

import asyncio
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pytest

import ray_pipeline
from ray_pipeline.errors import PipelineError, Unavailable
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.local.ports import reserve
from tests.integration.api.serving import (
    SECRET,
    TOKEN,
    configure,
    serving,
    ticker,
    trade,
    writing,
)

COUNT = 30


@pytest.fixture
async def pipelines(postgres_dsn, redis_url, monkeypatch, tmp_path):
    """One pipeline by its stores, one by its API."""
    for name, value in {
        "PIPELINE_HOME": str(tmp_path),
        "PIPELINE_POSTGRES__DSN": postgres_dsn,
        "PIPELINE_REDIS__URL": redis_url,
        "PIPELINE_API_KEYS": f'{{"finnhub": ["{SECRET}"]}}',
    }.items():
        monkeypatch.setenv(name, value)
    configured = configure(postgres_dsn, redis_url)
    async with writing(configured) as trades, writing(configured, "bithumb") as tickers:
        await trades.write(*(trade(seq) for seq in range(1, COUNT + 1)))
        await tickers.write(*(ticker(seq) for seq in range(1, 4)))
        async with serving(configured) as client:
            by_stores = await asyncio.to_thread(ray_pipeline.connect)
            by_api = await asyncio.to_thread(ray_pipeline.connect, client.url, token=TOKEN)
            yield by_stores, by_api
            by_stores.close()
            await asyncio.to_thread(by_api.close)


async def both(pipelines, method, *arguments, **options):
    """Return the same frame of both, asked beside the loop that serves."""
    by_stores, by_api = [
        await asyncio.to_thread(getattr(one, method), *arguments, **options) for one in pipelines
    ]
    return by_stores, by_api


async def test_the_stores_and_the_api_give_the_same_frames(pipelines):
    """Values, types, index: latest, history, bars, gaps."""
    calls = [
        ("latest", ("AAPL",), {}),
        ("latest", (["AAPL", "KRW-BTC"],), {}),
        ("latest", (), {"feed": "bithumb"}),
        ("history", ("AAPL",), {}),
        ("history", ("KRW-BTC",), {"limit": 2}),
        ("bars", ("AAPL", "1s"), {}),
        ("bars", ("AAPL", "1h"), {}),
        ("gaps", (), {}),
        ("runs", (), {}),
    ]
    for method, arguments, options in calls:
        by_stores, by_api = await both(pipelines, method, *arguments, **options)
        pd.testing.assert_frame_equal(by_stores, by_api, obj=f"{method}{arguments}")


async def test_history_is_complete_and_exact(pipelines):
    frame, _ = await both(pipelines, "history", "AAPL", numbers="decimal")
    assert len(frame) == COUNT
    assert frame["price"].tolist() == [Decimal(10_000 + n) / 100 for n in range(1, COUNT + 1)]
    assert str(frame.index.dtype) == "datetime64[us, UTC]"
    assert frame.index.is_monotonic_increasing

    middle = frame.index[10]
    later, _ = await both(pipelines, "history", "AAPL", start=middle.isoformat(), limit=5)
    assert later.index.tolist() == frame.index[10:15].tolist()
    earlier, _ = await both(pipelines, "history", "AAPL", end=middle.to_pydatetime(), limit=5)
    assert earlier.index.tolist() == frame.index[5:10].tolist()

    table, _ = await both(pipelines, "history", "AAPL", as_="arrow")
    assert isinstance(table, pa.Table)
    assert table.num_rows == COUNT


async def test_bars_add_up_to_the_trades(pipelines):
    frame, _ = await both(pipelines, "bars", "AAPL", "1h")
    assert frame["trades"].sum() == COUNT
    assert frame["volume"].sum() == sum(range(1, COUNT + 1))


async def test_jobs_quotas_and_status_say_what_is_and_no_key(pipelines):
    jobs, _ = await both(pipelines, "jobs")
    assert {"cpi", "company_news"} <= set(jobs.index)
    for frame in await both(pipelines, "quotas"):
        assert "finnhub" in frame.index.get_level_values("provider")
        assert SECRET not in frame.to_csv()
    for frame in await both(pipelines, "status"):
        assert set(frame.index) == {feed.name for feed in FEEDS}
    for frame in await both(pipelines, "status", "shards"):
        assert list(frame.index.names) == ["feed", "shard"]


async def test_it_works_inside_of_a_running_loop(pipelines):
    """A notebook's cell runs in one."""
    assert pipelines[0].latest("AAPL").loc["AAPL", "volume"] == COUNT


async def test_what_is_wrong_is_said_with_what_to_do(pipelines):
    by_stores, by_api = pipelines
    for pipeline in pipelines:
        for call, said in [
            (lambda one: one.latest("APPL"), "did you mean AAPL?"),
            (lambda one: one.history("NONE"), "no feed has a value of NONE"),
            (lambda one: one.bars("AAPL", "2m"), "one of 1s, 1m, 5m, 1h"),
            (lambda one: one.history("AAPL", feed="sp501"), "one of sp500"),
            (lambda one: one.latest("AAPL", as_="polars"), 'as_="pandas"'),
            (lambda one: one.status("nothing"), "one of feeds, shards"),
        ]:
            with pytest.raises(PipelineError) as caught:
                await asyncio.to_thread(call, pipeline)
            assert said in str(caught.value)
    with pytest.raises(PipelineError, match="not known where the Ray cluster is"):
        _ = by_stores.producers
    with pytest.raises(PipelineError, match="refused the token"):
        await asyncio.to_thread(ray_pipeline.connect, by_api._source._url, token="wrong")
    with reserve() as nowhere, pytest.raises(Unavailable, match="no API answers"):
        await asyncio.to_thread(ray_pipeline.connect, f"http://127.0.0.1:{nowhere.ports[0]}")
    with pytest.raises(PipelineError, match="no address of an API"):
        ray_pipeline.connect("localhost:8000")


def test_nothing_runs_here(monkeypatch, tmp_path):
    """The message says what to start."""
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path))
    with pytest.raises(PipelineError, match=r"no pipeline runs in .*\n  fix: .*ray-pipeline demo"):
        ray_pipeline.connect()

"""What the API answers, over HTTP, from stores that the project's own writers have filled."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from openapi_spec_validator import validate

from ray_pipeline.batch.outcome import Outcome
from ray_pipeline.batch.results import RowCounts
from ray_pipeline.catalog import all_jobs
from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.feeds.records import Gap
from ray_pipeline.services.job_run import ledger
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.pool import Pool
from ray_pipeline.storage.postgres.runs import RunBook, RunKey
from ray_pipeline.stream.bars import INTERVALS
from tests.integration.api.serving import SECRET, configure, serving, ticker, trade, writing
from tests.streams import rows

SLOT = datetime(2024, 6, 1, 6, tzinfo=UTC)


async def test_one_latest_value_is_what_redis_holds_with_all_its_digits(configured):
    """129.575 stays 129.575, and the answer says which store had it."""
    async with writing(configured) as writer, serving(configured) as client:
        await writer.write(trade(1, price=Decimal("129.575")), trade(2, "MSFT"))

        status, body, headers = await client.ask("/v1/feeds/sp500/latest/AAPL")

    assert status == 200
    assert b'"price":129.575,' in body
    assert headers["X-Source"] == "redis"
    assert headers["Content-Type"] == "application/json"
    assert headers["Cache-Control"] == "no-store"


async def test_many_and_all_latest_values(configured):
    """In the order that was asked for; a symbol without a value is left out."""
    async with (
        writing(configured) as trades,
        writing(configured, "bithumb") as tickers,
        serving(configured) as client,
    ):
        await trades.write(trade(1, "AAPL"), trade(2, "MSFT"), trade(3, "ZTS"))
        await tickers.write(ticker(1, "KRW-BTC"), ticker(2, "KRW-ETH"))

        some = await client.get("/v1/feeds/sp500/latest?symbols=ZTS,NONE,AAPL")
        everything = await client.get("/v1/feeds/bithumb/latest")
        nothing = await client.get("/v1/feeds/top_gainers/latest")
        names = await client.get("/v1/feeds/sp500/symbols")

    assert [one["symbol"] for one in some["values"]] == ["ZTS", "AAPL"]
    assert [one["symbol"] for one in everything["values"]] == ["KRW-BTC", "KRW-ETH"]
    assert nothing == {"feed": "top_gainers", "values": []}
    assert names == {"feed": "sp500", "symbols": ["AAPL", "MSFT", "ZTS"]}


@pytest.mark.parametrize("feed", ["sp500", "bithumb", "top_gainers"])
async def test_postgres_has_the_same_value_where_redis_has_none(configured, feed):
    """The newest by event time, in the same fields, whatever was stored last."""
    make, symbol = (ticker, "KRW-BTC") if feed == "bithumb" else (trade, "AAPL")
    path = f"/v1/feeds/{feed}/latest/{symbol}"
    async with writing(configured, feed) as writer, serving(configured) as client:
        late, newest = make(1, symbol), make(900, symbol)
        await writer.write(newest)
        from_redis = await client.get(path)
        await writer._cache._client.flushall()
        await writer.write(late, redis=False)

        status, body, headers = await client.ask(path)
        _, listed, about = await client.ask(f"/v1/feeds/{feed}/latest")

    assert status == 200
    assert headers["X-Source"] == about["X-Source"] == "postgres"
    assert json.loads(body, parse_float=Decimal) == from_redis
    assert json.loads(listed, parse_float=Decimal)["values"] == [from_redis]


async def test_a_part_from_each_store(configured):
    """What Redis lacks is added from Postgres, and the answer says so."""
    async with writing(configured) as writer, serving(configured) as client:
        await writer.write(trade(1, "AAPL"), redis=False)
        await writer.write(trade(2, "MSFT"))

        _, body, headers = await client.ask("/v1/feeds/sp500/latest?symbols=AAPL,MSFT")

    assert [one["symbol"] for one in json.loads(body)["values"]] == ["AAPL", "MSFT"]
    assert headers["X-Source"] == "redis,postgres"


async def test_history_comes_whole_page_by_page_while_records_are_added(configured):
    """Every record once, in order, though many happened in one millisecond, in both directions."""
    at_ms = int(datetime.now(UTC).timestamp() * 1000) - 60_000
    there = [
        trade(seq, timestamp_ms=at_ms + seq // 20, pod_index=seq % 3 + 1) for seq in range(1, 96)
    ]
    seen: dict[str, list[tuple]] = {}
    async with writing(configured) as writer, serving(configured) as client:
        await writer.write(*there, trade(96, "MSFT"))
        number = 1000
        for order in ("oldest", "newest"):
            path, after, found = f"/v1/feeds/sp500/history/AAPL?limit=7&order={order}", "", []
            while after is not None:
                page = await client.get(path + (f"&after={after}" if after else ""))
                found += page["rows"]
                after = page["next"]
                # One where the reader has been and one where it goes, each in its direction.
                number += 2
                await writer.write(
                    trade(number, timestamp_ms=at_ms - number),
                    trade(number + 1, timestamp_ms=at_ms + number),
                    redis=False,
                )
                if len(found) > 200:
                    break
            seen[order] = [
                (row["timestamp_ms"], row["pod_index"], row["epoch"], row["seq"]) for row in found
            ]

    wanted = {(one.timestamp_ms, one.pod_index, one.epoch, one.seq) for one in there}
    for order, keys in seen.items():
        assert len(keys) == len(set(keys))
        assert wanted <= set(keys)
        assert keys == sorted(keys, reverse=order == "newest")


async def test_history_from_a_moment_on(configured):
    """A time may stand where a `next` of an earlier page does; without a zone it is UTC."""
    at = datetime(2024, 11, 4, 12, tzinfo=UTC)
    made = [
        trade(seq, timestamp_ms=int((at + timedelta(minutes=seq)).timestamp() * 1000))
        for seq in range(1, 6)
    ]
    async with writing(configured) as writer, serving(configured) as client:
        await writer.write(*made)
        path = "/v1/feeds/sp500/history/AAPL"

        later = await client.get(f"{path}?after=2024-11-04T12:03:00Z")
        same = await client.get(f"{path}?after=2024-11-04T21:03:00%2B09:00")
        naive = await client.get(f"{path}?after=2024-11-04T12:03:00")
        before = await client.get(f"{path}?after=2024-11-04T12:03:00Z&order=newest")

    assert [row["seq"] for row in later["rows"]] == [4, 5]
    assert later == same == naive
    assert [row["seq"] for row in before["rows"]] == [2, 1]
    assert later["rows"][0]["created_at"].endswith("Z")
    assert later["next"] is None


@pytest.mark.parametrize(("interval", "seconds"), INTERVALS.items())
async def test_bars_add_up_to_the_trades_page_by_page(configured, interval, seconds):
    """Each trade is in one bar of each interval, and bars come in order, once."""
    at_ms = int(datetime(2024, 11, 4, 12, tzinfo=UTC).timestamp() * 1000)
    made = [trade(seq, timestamp_ms=at_ms + seq * 97_000) for seq in range(1, 101)]
    async with writing(configured) as writer, serving(configured) as client:
        await writer.write(*made)
        path = f"/v1/feeds/sp500/bars/AAPL?interval={interval}&limit=9"
        page = await client.get(path)
        bars = page["rows"]
        while page["next"]:
            page = await client.get(f"{path}&after={page['next']}")
            bars += page["rows"]
        (newest,) = (await client.get(f"{path[:-1]}1&order=newest"))["rows"]
        behind = await client.get(f"{path}&after=2024-11-04T13:00:00Z")

    starts = [bar["start_at"] for bar in bars]
    assert starts == sorted(set(starts))
    assert len(starts) == len({one.timestamp_ms // (seconds * 1000) for one in made})
    assert sum(bar["trades"] for bar in bars) == len(made)
    assert sum(bar["volume"] for bar in bars) == sum(one.volume for one in made)
    assert (bars[0]["open"], bars[-1]["close"]) == (made[0].price, made[-1].price)
    assert newest == bars[-1]
    assert behind["rows"][0]["start_at"] > "2024-11-04T13:00:00Z"


async def test_ready_says_whether_data_progress(postgres_dsn, redis_url):
    """Not before the first record, not when the newest is too old; /live says nothing of it."""
    configured = configure(postgres_dsn, redis_url, api={"ready_s": 60.0})
    async with writing(configured) as writer:
        async with serving(configured) as client:
            status, body, headers = await client.ask("/ready")
            assert (status, json.loads(body)["error"]) == (
                503, "no feed has ever stored a record",
            )  # fmt: skip
            assert headers["Retry-After"]

        old = datetime.now(UTC) - timedelta(minutes=10)
        await writer.write(trade(1, created_at=old))
        async with serving(configured) as client:
            status, body, _ = await client.ask("/ready")
            assert status == 503
            assert "no feed stored a record for" in json.loads(body)["error"]
            assert (await client.get("/live")) == {"live": True}

        await writer.write(trade(2))
        async with serving(configured) as client:
            assert (await client.get("/ready"))["ready"] is True


async def test_why_health_and_throughput_speak_of_every_feed(configured):
    """One sentence a feed and job; a row a feed with its lag."""
    async with writing(configured) as writer, serving(configured) as client:
        await writer.write(trade(1))
        said = {one["name"]: one for one in (await client.get("/why"))["why"]}
        health = await client.get("/v1/health")
        samples = await client.get("/v1/throughput")
        feeds = await client.get("/v1/feeds")

    assert said["sp500"]["fresh"] is True
    assert said["bithumb"]["fresh"] is False
    assert "never" in said["bithumb"]["why"]
    assert said.keys() > {spec.name for spec in all_jobs()}
    assert health["feeds"]["sp500"]["stored"] == 1
    assert health["clients"] == 0
    assert "samples" in samples
    assert [one["name"] for one in feeds["feeds"]] == [feed.name for feed in FEEDS]


async def test_runs_and_jobs_are_what_the_book_of_runs_says(configured, postgres_dsn):
    """State, why and rows, the newest first, of one job or of all."""
    async with session(postgres_dsn, name="test") as connection:
        book = RunBook(connection, takeover=timedelta(seconds=90))
        for job, state in (("cpi", "succeeded"), ("etf_basic_info", "refused")):
            key = RunKey(job, SLOT, "test")
            await book.begin(key, trigger="schedule")
            await book.finish(key, Outcome(state=state, why="as it was", counts=RowCounts()))
    async with serving(configured) as client:
        everything = (await client.get("/v1/runs"))["runs"]
        mine = (await client.get("/v1/runs?job=cpi"))["runs"]
        jobs = {one["name"]: one for one in (await client.get("/v1/jobs"))["jobs"]}
        tables = (await client.get("/v1/freshness"))["tables"]

    assert {run["job"] for run in everything} == {"cpi", "etf_basic_info"}
    assert [(run["job"], run["state"], run["why"]) for run in mine] == [
        ("cpi", "succeeded", "as it was")
    ]
    assert mine[0]["slot"] == "2024-06-01T06:00:00Z"
    assert jobs.keys() == {spec.name for spec in all_jobs()}
    assert jobs["cpi"]["last"]["state"] == "succeeded"
    assert jobs["etf_basic_info"]["last"]["state"] == "refused"
    cpi = next(one for one in tables if one["source"] == "cpi")
    assert cpi["collected_at"] is not None
    refused = next(one for one in tables if one["source"] == "etf_basic_info")
    assert (refused["fresh"], refused["collected_at"]) == (False, None)
    assert {"sp500_websocket_trades", "bithumb_ticker", "finnhub_trades"} <= {
        one["table"] for one in tables
    }


async def test_quotas_are_what_the_ledger_granted(configured):
    """By the key's fingerprint; what is used and what is left add up to the window."""
    async with ledger(configured) as book:
        await book.acquire("alpha_vantage", job="cpi", sweep=False)
    async with serving(configured) as client:
        found = (await client.get("/v1/quotas"))["quotas"]

    mine = [one for one in found if one["provider"] == "alpha_vantage"]
    assert {one["used"] for one in mine} == {1}
    (day,) = [one for one in mine if one["window"].startswith("25")]
    assert day["left"] == 24
    assert all(len(one["key"]) == 10 for one in mine)


async def test_gaps_page_by_page(configured):
    """The newest first, each once; of one feed or of all."""
    now = datetime.now(UTC)
    made = [
        Gap(
            epoch=1, seq=seq, pod_index=1, gap_kind="disconnected", cause=f"cause {seq}",
            symbols=["AAPL"], from_at=now, to_at=now, created_at=now,
        )
        for seq in range(1, 12)
    ]  # fmt: skip
    async with writing(configured) as writer, serving(configured) as client:
        await writer.write(*made)
        page = await client.get("/v1/gaps?limit=4")
        found = page["rows"]
        while page["next"] is not None:
            page = await client.get(f"/v1/gaps?limit=4&after={page['next']}")
            found += page["rows"]
        other = await client.get("/v1/gaps?feed=bithumb")

    assert [row["seq"] for row in found] == list(range(11, 0, -1))
    assert {row["cause"] for row in found} == {f"cause {seq}" for seq in range(1, 12)}
    assert found[0]["symbols"] == ["AAPL"]
    assert other == {"rows": [], "next": None}


async def test_a_gap_before_the_year_1_is_shown(configured):
    """What is stored can be read; `cause` has the time that the producer gave."""
    made = Gap(
        epoch=1, seq=1, pod_index=1, gap_kind="stalled", cause="c\x00",
        from_at=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        to_at=datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-14))),
    )  # fmt: skip
    async with writing(configured) as writer, serving(configured) as client:
        await writer.write(made)
        (row,) = (await client.get("/v1/gaps"))["rows"]

    assert row["from_at"] == "2000-01-01T00:00:00Z"
    assert row["to_at"] < f"{datetime.now(UTC).year + 2}"
    assert row["cause"].startswith("c (from_at was 0001-01-01 00:00:00+14:00) (to_at was 9999-")


async def test_dead_letters_without_what_was_in_them(configured):
    """Reason and place, and how many are open; the payload may be anybody's secret."""
    async with writing(configured) as writer, serving(configured) as client:
        await writer.write_raw(b"{broken " + SECRET.encode(), b'{"symbol": 1}')
        status, body, _ = await client.ask("/v1/dead-letters?limit=1")
        first = json.loads(body)
        second = await client.get(f"/v1/dead-letters?limit=1&after={first['next']}")
        dropped = await client.get("/v1/dead-letters?state=dropped")

    assert status == 200
    assert {first["rows"][0]["reason"], second["rows"][0]["reason"]} == {"not_json", "wrong_shape"}
    assert sum(one["count"] for one in first["open"]) == 2
    assert SECRET.encode() not in body
    assert "payload" not in first["rows"][0]
    assert dropped["rows"] == []


async def test_the_document_is_valid_and_shows_an_answer_of_each_route(configured):
    """OpenAPI 3.1; every example is what a client may meet."""
    async with serving(configured) as client:
        document = json.loads((await client.ask("/openapi.json"))[1])

    validate(document)
    assert document["security"] == [{"token": []}]
    assert len(document["paths"]) >= 16
    for path, methods in document["paths"].items():
        assert methods.keys() == {"get"}, path
        for status, reply in methods["get"]["responses"].items():
            assert "example" in reply["content"]["application/json"], (path, status)


async def test_answers_have_the_fields_that_the_document_shows(configured):
    """An example that promises a field which no answer has is a lie."""
    async with (
        writing(configured) as trades,
        serving(configured) as client,
    ):
        gap = Gap(epoch=1, seq=2, pod_index=1, gap_kind="stalled", cause="x")
        await trades.write(trade(1), gap)
        await trades.write_raw(b"rubbish")
        async with ledger(configured) as book:
            await book.acquire("alpha_vantage", job="cpi", sweep=False)
        document = json.loads((await client.ask("/openapi.json"))[1])
        for path, methods in document["paths"].items():
            shown = methods["get"]["responses"]["200"]["content"]["application/json"]["example"]
            if path in ("/ready", "/v1/runs", "/v1/throughput"):
                continue  # their answers depend on time, or are compared above
            real = await client.get(path.format(feed="sp500", symbol="AAPL"))
            assert shown.keys() <= real.keys(), path
            for name, value in shown.items():
                if isinstance(value, list) and value and isinstance(value[0], dict):
                    assert value[0].keys() <= real[name][0].keys(), (path, name)


async def every_path(client) -> list[str]:
    """Return each path of the document, with a feed and a symbol that exist."""
    document = json.loads((await client.ask("/openapi.json"))[1])
    return [path.format(feed="sp500", symbol="AAPL") for path in document["paths"]]


async def test_no_answer_holds_a_secret(configured, postgres_dsn):
    """Keys are planted in the settings; every route, header and error is searched for them."""
    async with writing(configured) as writer, serving(configured) as client:
        await writer.write(trade(1))
        async with ledger(configured) as book:
            await book.acquire("alpha_vantage", job="cpi", sweep=False)
        for path in [*await every_path(client), "/openapi.json", "/v1/feeds/x/symbols", "/nope"]:
            status, body, headers = await client.ask(path)
            assert status in (200, 404), (path, body)
            assert SECRET not in body.decode() + str(headers), path
    assert rows(postgres_dsn, "SELECT count(*) FROM quota_grants") == [(1,)]


async def test_no_error_holds_a_password(redis_server):
    """Neither store can be reached; what is said about that names no password."""
    configured = configure(
        f"postgresql://someone:{SECRET}@127.0.0.1:1/nowhere", f"redis://:{SECRET}@127.0.0.1:1/0"
    )
    async with serving(configured) as client:
        for path in await every_path(client):
            status, body, _ = await client.ask(path)
            assert SECRET not in body.decode(), path
            assert status in (200, 503), (path, body)


async def test_a_database_without_tables_is_named_as_such(empty_dsn, redis_url):
    """503, and the command that makes them."""
    async with serving(configure(empty_dsn, redis_url)) as client:
        for path in ("/v1/health", "/v1/feeds/sp500/history/AAPL", "/v1/runs", "/ready"):
            status, body, _ = await client.ask(path)
            assert status == 503, (path, body)
            assert "ray-pipeline migrate" in json.loads(body)["fix"]


async def test_the_api_cannot_write(postgres_dsn):
    """Its connections are read-only, whatever a query says."""
    pool = Pool(postgres_dsn, size=1, name="test")
    try:
        with pytest.raises(DatabaseUnavailable, match="25006"):
            await pool.read(lambda connection: connection.execute("DELETE FROM gaps"))
    finally:
        await pool.close()

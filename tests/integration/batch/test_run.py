"""Runs of batch jobs against a simulator that does what providers do to their callers."""

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from ray_pipeline.batch.outcome import Outcome
from ray_pipeline.catalog import job
from ray_pipeline.errors import Overlap
from ray_pipeline.redact import fingerprint
from ray_pipeline.services.job_run import collect
from ray_pipeline.settings import Settings, load
from ray_pipeline.simulators.rest import RestOptions, RestSimulator
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.payloads import dead_letters_of_jobs, reread
from tests.support import eventually

SLOT = datetime(2026, 11, 2, 6, tzinfo=UTC)
SECRETS = {
    "alpha_vantage": ["SECRET-av-1", "SECRET-av-2"],
    "fred": ["SECRET-fred"],
    "finnhub": ["SECRET-finnhub"],
    "newsapi": ["SECRET-newsapi"],
    "x": ["SECRET-x"],
    "truth_social": ["SECRET-user:SECRET-password"],
    "coingecko": ["SECRET-cg"],
    "fmp": ["SECRET-fmp"],
}


@pytest.fixture
async def simulator() -> AsyncIterator[RestSimulator]:
    """Every provider."""
    async with RestSimulator(RestOptions()) as server:
        yield server


@pytest.fixture
def settings(postgres_dsn, simulator, monkeypatch) -> Settings:
    """Settings that send all calls to the simulator, at a thousand times the usual speed."""
    for name, value in simulator.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIPELINE_POSTGRES__DSN", postgres_dsn)
    monkeypatch.setenv("PIPELINE_API_KEYS", json.dumps(SECRETS))
    monkeypatch.setenv("PIPELINE_JOBS__SPEED", "100000")
    return load()


def query(dsn: str, statement: str, *values: object) -> list[tuple]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def add_companies(dsn: str, count: int) -> None:
    query(
        dsn,
        "INSERT INTO sp500_companies (symbol, company_name) "
        "SELECT 'S' || lpad(n::text, 3, '0'), 'Company ' || n FROM generate_series(1, %s) AS n",
        count,
    )


async def run(settings: Settings, name: str, slot: datetime = SLOT, **options) -> Outcome:
    return await collect(settings, job(name), slot, **options)


async def test_a_run_that_is_repeated_changes_nothing(settings):
    """Neither for the same slot nor for the next one, where the provider says the same."""
    first = await run(settings, "cpi")
    again = await run(settings, "cpi", again=True)
    later = await run(settings, "cpi", SLOT + timedelta(days=7))

    assert first.state == "succeeded"
    assert first.counts.new > 100
    for outcome in (again, later):
        assert outcome.state == "nothing_new"
        assert (outcome.counts.new, outcome.counts.changed) == (0, 0)
        assert outcome.counts.seen == first.counts.seen


@pytest.mark.parametrize("calls_before", [0, 1, 3, 7])
async def test_a_sweep_that_meets_the_quota_goes_on_with_the_next_item(
    settings, simulator, postgres_dsn, calls_before
):
    """Deferred, with the time; no item is skipped, and none is asked twice."""
    add_companies(postgres_dsn, 10)
    simulator.do_fault("alpha_vantage", "quota", after=calls_before)

    deferred = await run(settings, "company_overview")
    simulator.do_fault("alpha_vantage", "clear")
    query(postgres_dsn, "UPDATE quota_keys SET rest_until = '-infinity'")
    finished = await run(settings, "company_overview")

    assert deferred.state == "deferred"
    assert deferred.not_before is not None
    assert deferred.items_done == calls_before
    assert "25 requests per day" in deferred.why
    assert finished.state == "succeeded"
    assert finished.items_done == 10 - calls_before
    symbols = query(postgres_dsn, "SELECT symbol, count(*) FROM company_overview GROUP BY 1")
    assert sorted(symbols) == [(f"S{n:03}", 1) for n in range(1, 11)]
    progress = query(postgres_dsn, "SELECT current_position, status FROM company_overview_progress")
    assert progress == [(10, "completed")]


async def test_both_keys_are_used_up_before_a_run_is_deferred(settings, simulator, postgres_dsn):
    """Each is asked once after its quota is gone, and rests then."""
    add_companies(postgres_dsn, 3)
    simulator.do_fault("alpha_vantage", "quota")

    await run(settings, "company_overview")

    resting = query(postgres_dsn, "SELECT key FROM quota_keys WHERE rest_until > now() ORDER BY 1")
    want = sorted(fingerprint(key) for key in SECRETS["alpha_vantage"])
    assert [key for (key,) in resting] == want
    assert simulator.stats["alpha_vantage"].calls == 2


async def test_a_refused_key_is_left_alone_until_it_is_changed(settings, simulator):
    """Not a failure of the data: the run is refused and says so."""
    simulator.do_fault("coingecko", "bad_key")

    refused = await run(settings, "coingecko_global")
    calls = simulator.stats["coingecko"].calls
    again = await run(settings, "coingecko_global")

    assert refused.state == again.state == "refused"
    assert "Key" in refused.why
    assert simulator.stats["coingecko"].calls == calls == 1


async def test_where_one_provider_refuses_the_other_is_asked(settings, simulator):
    """The same rows come from Alpha Vantage, and say so."""
    simulator.do_fault("fred", "bad_key")

    outcome = await run(settings, "cpi")

    assert outcome.state == "succeeded"
    assert outcome.sources == ["fred", "alpha_vantage"]


@pytest.mark.parametrize("fault", ["broken", "truncated", "error"])
async def test_an_ill_provider_is_asked_again_and_then_left(settings, simulator, fault):
    """Two bad answers cost nothing; ten fail the run, which is never green."""
    simulator.do_fault("fred", fault, count=2)
    recovered = await run(settings, "cpi")
    simulator.do_fault("fred", fault, count=10)
    failed = await run(settings, "cpi", SLOT + timedelta(days=7))

    assert recovered.state == "succeeded"
    assert recovered.calls == 3
    assert failed.state == "failed"
    assert failed.counts.new == 0


async def test_a_429_is_waited_out_for_as_long_as_it_says(settings, simulator):
    """The same call again, not the next item."""
    simulator.do_fault("coingecko", "refuse", count=1, seconds=1)

    outcome = await run(settings, "coingecko_global")

    assert outcome.state == "succeeded"
    assert outcome.calls == 2


@pytest.mark.parametrize("name", ["company_news", "truth_social_posts", "treasury_yield"])
async def test_a_run_that_is_killed_anywhere_is_completed_by_the_next(
    settings, simulator, postgres_dsn, name
):
    """Cancelled after every transaction in turn, the tables end as if nothing had happened."""
    add_companies(postgres_dsn, 6)
    table = job(name).tables[0].name
    rounds = 0
    while True:
        told = 0

        def stop(_outcome: Outcome) -> None:
            nonlocal told
            told += 1
            if told == 1:
                raise asyncio.CancelledError

        rounds += 1
        assert rounds < 40
        try:
            await run(settings, name, on_progress=stop)
        except asyncio.CancelledError:
            query(postgres_dsn, "UPDATE job_runs SET heartbeat_at = now() - interval '1 hour'")
            continue
        break
    interrupted = query(postgres_dsn, f"SELECT count(*) FROM {table}")
    query(postgres_dsn, "TRUNCATE job_items")
    whole = await run(settings, name, SLOT)

    assert rounds > 1
    assert whole.counts.new == 0
    assert interrupted[0][0] > 0


async def test_two_runs_of_one_job_do_not_overlap(settings, simulator, postgres_dsn, monkeypatch):
    """The second is refused while the first lives, and may take over when it has fallen silent."""
    simulator.do_fault("fred", "slow", seconds=30)
    first = asyncio.create_task(run(settings, "cpi"))
    await eventually(
        lambda: bool(query(postgres_dsn, "SELECT job FROM job_runs WHERE state = 'running'"))
    )
    query(postgres_dsn, "UPDATE job_runs SET holder = 'another process'")
    with pytest.raises(Overlap, match="running already"):
        await run(settings, "cpi", SLOT + timedelta(days=1))
    query(postgres_dsn, "UPDATE job_runs SET heartbeat_at = now() - interval '1 hour'")
    simulator.do_fault("fred", "clear")
    taken_over = await run(settings, "cpi")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

    assert taken_over.state == "succeeded"
    state = query(postgres_dsn, "SELECT state, attempt FROM job_runs WHERE slot = %s", SLOT)
    assert state == [("succeeded", 2)]


async def test_a_row_that_cannot_be_stored_costs_no_other(settings, simulator, postgres_dsn):
    """It is set aside with the answer it came from, once, however often it comes."""
    query(postgres_dsn, "ALTER TABLE cpi ADD CHECK (extract(month FROM date) <> 3)")

    first = await run(settings, "cpi")
    again = await run(settings, "cpi", again=True)

    letters = query(
        postgres_dsn, "SELECT feed, reason, payload FROM dead_letters WHERE topic = 'job:cpi'"
    )
    assert first.state == "succeeded"
    assert first.counts.parked == len(letters) == again.counts.parked > 0
    assert first.counts.new == first.counts.seen - first.counts.parked
    assert all(json.loads(bytes(payload))["date"][5:7] == "03" for _, _, payload in letters)
    assert len(query(postgres_dsn, "SELECT id FROM payloads")) == 1


async def test_no_secret_is_ever_written_down(settings, simulator, postgres_dsn, caplog):
    """Keys are planted everywhere; neither log, run, letter nor ledger has one."""
    caplog.set_level(logging.DEBUG)
    add_companies(postgres_dsn, 2)
    for name in ("cpi", "company_news", "truth_social_tags", "market_news", "x_user_profiles"):
        for fault in ("error", "bad_key", "truncated", "quota"):
            provider = job(name).sources[0].provider.name
            simulator.do_fault(provider, fault, count=6)
            await run(settings, name, SLOT + timedelta(hours=len(caplog.records) % 100))
            query(postgres_dsn, "UPDATE quota_keys SET rest_until = '-infinity'")

    everything = caplog.text + "".join(
        str(query(postgres_dsn, f"SELECT t::text FROM {table} AS t"))
        for table in ("job_runs", "job_items", "quota_keys", "quota_grants", "payloads", "findings")
    )
    assert "SECRET" not in everything


@pytest.mark.parametrize("zone", ["UTC", "Asia/Seoul"])
async def test_the_machines_time_zone_changes_no_row(settings, simulator, postgres_dsn, zone):
    """Rows are those of UTC, whatever TZ says."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = zone
    time.tzset()
    try:
        for name in ("top_gainers", "market_news_finnhub", "coingecko_derivatives"):
            assert (await run(settings, name)).state == "succeeded"
    finally:
        os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
        time.tzset()
    updated = query(postgres_dsn, "SELECT DISTINCT last_updated FROM top_gainers")[0][0]

    assert (updated.hour, updated.minute) in {(21, 15), (20, 15)}
    newest = query(postgres_dsn, "SELECT max(datetime) FROM market_news_finnhub")[0][0]
    assert newest.replace(tzinfo=UTC) <= datetime.now(UTC)


async def test_a_plan_that_lacks_the_endpoint_is_followed_by_the_next_source(
    settings, simulator, postgres_dsn
):
    """FMP's free plan may refuse the list of members; Wikipedia has it."""
    simulator.do_fault("fmp", "error", status=402)

    outcome = await run(settings, "sp500_companies")

    assert outcome.state == "succeeded"
    assert outcome.sources == ["fmp", "wikipedia"]
    sources = query(postgres_dsn, "SELECT DISTINCT source FROM sp500_companies")
    assert sources == [("wikipedia",)]


async def test_parked_rows_are_stored_when_the_table_was_mended(settings, simulator, postgres_dsn):
    """Their answer was kept, and is read again; what was stored before is left alone."""
    query(postgres_dsn, "ALTER TABLE cpi ADD CONSTRAINT odd CHECK (extract(month FROM date) <> 3)")
    await run(settings, "cpi")
    parked = query(postgres_dsn, "SELECT id FROM dead_letters")
    query(postgres_dsn, "ALTER TABLE cpi DROP CONSTRAINT odd")

    async with session(postgres_dsn, name="test") as connection:
        letters = await dead_letters_of_jobs(connection, [letter for (letter,) in parked])
    stored, bad = await reread(postgres_dsn, list(letters.values()))

    assert (stored, bad) == (len(parked), 0)
    assert query(postgres_dsn, "SELECT DISTINCT state FROM dead_letters") == [("replayed",)]
    assert query(postgres_dsn, "SELECT count(*) FROM cpi WHERE extract(month FROM date) = 3") == [
        (len(parked),)
    ]

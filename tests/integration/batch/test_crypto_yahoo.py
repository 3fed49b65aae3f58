"""Recorded answers of CoinGecko, Bithumb and Yahoo, from the file to rows in Postgres."""

import csv
import html
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ray_pipeline.batch.progress import cycle_of
from ray_pipeline.batch.results import Collected, RowCounts
from ray_pipeline.jobs import (
    bithumb_coingecko_mapping,
    bithumb_markets,
    coingecko_coin_details,
    coingecko_derivatives,
    coingecko_global,
    coingecko_id_mapping,
    coingecko_tickers,
    coingecko_tickers_bithumb,
    company_ownership,
    earnings_history,
    financials,
    sp500_companies,
    sp500_earnings_digest,
)
from ray_pipeline.jobs.spec import JobSpec, Request, Run
from ray_pipeline.providers.registry import all_providers
from ray_pipeline.services.job_run import collect
from ray_pipeline.settings import JobSettings, PostgresSettings, Settings
from ray_pipeline.simulators.rest import RestSimulator
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.job_inputs import read_inputs
from ray_pipeline.storage.postgres.job_store import JobStore
from tests.recorded import SLOT, store_recorded
from tests.support import PAYLOADS

pytestmark = pytest.mark.skipif(
    not PAYLOADS.is_dir(), reason="no recorded payloads beside this checkout"
)

ANY = Request("", "/")
TICKERS = Request(
    "bitcoin",
    "/",
    facts={
        "coin": "bitcoin",
        "symbol": "BTC",
        "market_code": "KRW-BTC",
        "method": "M",
        "rank": "1",
    },
)
ANNUAL = Request("AAPL", "/", facts={"period": "annual"})
FUNDAMENTALS = "yfinance/fundamentalsTimeSeries-AAPL-"

RECORDED = [
    (coingecko_id_mapping.SPEC, "coingecko/coins_markets_bitcoin_2021-05.json", ANY, 1),
    (coingecko_id_mapping.SPEC, "coingecko/coins_markets_row_2025-06-24.json", ANY, 1),
    (coingecko_coin_details.SPEC, "coingecko/coins_bitcoin_2021-05.json", ANY, 1),
    (coingecko_coin_details.SPEC, "coingecko/coins_bitcoin_2024-10-25_head.json", ANY, 1),
    (coingecko_derivatives.SPEC, "coingecko/derivatives_2021-05.json", ANY, 430),
    (coingecko_global.SPEC, "coingecko/global_2021-05.json", ANY, 1),
    (
        coingecko_tickers_bithumb.SPEC,
        "coingecko/coins_bitcoin_tickers_2021-05.json",
        TICKERS,
        100,
    ),
    (coingecko_tickers.SPEC, "coingecko/coins_bitcoin_tickers_2021-05.json", TICKERS, 100),
    (bithumb_markets.SPEC, "bithumb/v1_market_all_2025-08-26.json", ANY, 66),
    (financials.SPEC, FUNDAMENTALS + "balance-sheet-annual.json", ANNUAL, 3),
    (financials.SPEC, FUNDAMENTALS + "financials-annual.json", ANNUAL, 3),
]


def rows(dsn: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Return what a query finds."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode(), values or None).fetchall()


def execute(dsn: str, statement: str, *values: object) -> None:
    """Execute a statement."""
    with psycopg.connect(dsn) as connection:
        connection.execute(statement.encode(), values or None)


@pytest.mark.parametrize(("spec", "name", "request_", "count"), RECORDED)
async def test_a_recorded_answer_is_stored_whole_and_once(
    postgres_dsn: str, spec: JobSpec, name: str, request_: Request, count: int
):
    """Storing it again changes nothing."""
    text = (PAYLOADS / name).read_text()

    first = await store_recorded(postgres_dsn, spec, text, request=request_)
    again = await store_recorded(postgres_dsn, spec, text, request=request_)

    listed = int(any(table.name == "listings" for table in spec.tables))
    assert (first.new, first.changed, first.parked) == (count + listed, 0, 0)
    assert (again.new, again.changed, again.parked) == (0, 0, 0)
    with psycopg.connect(postgres_dsn) as connection:
        stored = sum(
            connection.execute(
                sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table.name))
            ).fetchone()[0]
            for table in spec.tables
        )
    assert stored == count + listed


async def test_figures_keep_their_digits_and_times_are_utc(postgres_dsn: str):
    """As the recorded files have them."""
    files = (
        (coingecko_derivatives.SPEC, "derivatives_2021-05.json"),
        (coingecko_global.SPEC, "global_2021-05.json"),
        (coingecko_coin_details.SPEC, "coins_bitcoin_2021-05.json"),
    )
    for spec, name in files:
        text = (PAYLOADS / "coingecko" / name).read_text()
        await store_recorded(postgres_dsn, spec, text, request=ANY)

    [contract] = rows(
        postgres_dsn,
        "SELECT volume_24h_usd, last_traded_at, collected_at, batch_id FROM coingecko_derivatives "
        "WHERE market = 'Binance (Futures)' AND symbol = 'BTCUSDT'",
    )
    assert contract == (
        Decimal("28083676311.186348"),
        datetime.fromtimestamp(1621346317, UTC).replace(tzinfo=None),
        SLOT.replace(tzinfo=None),
        "20260901_060000",
    )
    [market] = rows(
        postgres_dsn,
        "SELECT total_market_cap_usd, sol_dominance, coingecko_updated_at, "
        "total_volume_json ->> 'krw' FROM coingecko_global",
    )
    assert market == (
        Decimal("2142953338976.9612"),
        None,
        datetime.fromtimestamp(1621346159, UTC).replace(tzinfo=None),
        "327967857547469.44",
    )
    [coin] = rows(
        postgres_dsn,
        "SELECT symbol, genesis_date, categories, source FROM coingecko_coin_details",
    )
    sent = json.loads((PAYLOADS / "coingecko" / "coins_bitcoin_2021-05.json").read_text())
    assert coin == ("BTC", date(2009, 1, 3), sent["categories"], "coingecko")


async def test_what_a_narrow_type_would_lose_survives(postgres_dsn: str):
    """Dated futures, prices of 3e-12, supplies of 1e24, symbols of 25 letters."""
    coin = {"id": "dust", "symbol": "s" * 25, "name": "n", "current_price": 3e-12}
    future = {"market": "M", "symbol": "S", "index_id": "I", "expired_at": 1624608000}

    await store_recorded(
        postgres_dsn,
        coingecko_id_mapping.SPEC,
        json.dumps([{**coin, "total_supply": 1e24}]),
        request=ANY,
    )
    await store_recorded(
        postgres_dsn, coingecko_derivatives.SPEC, json.dumps([future]), request=ANY
    )

    assert rows(
        postgres_dsn, "SELECT symbol, current_price_usd, total_supply FROM coingecko_id_mapping"
    ) == [("S" * 25, Decimal("3e-12"), Decimal("1e24"))]
    assert rows(postgres_dsn, "SELECT expired_at FROM coingecko_derivatives") == [
        (datetime(2021, 6, 25, 8),)
    ]


async def test_views_find_what_was_stored(postgres_dsn: str):
    """Each of them can be read; those over recorded tables have rows."""
    for spec, name, request, _count in RECORDED[:8]:
        await store_recorded(postgres_dsn, spec, (PAYLOADS / name).read_text(), request=request)
    # A Korean won price, three per cent above.
    execute(
        postgres_dsn,
        "INSERT INTO coingecko_tickers (batch_id, coingecko_id, coin_symbol, coin_name, "
        "base_symbol, target_symbol, market_name, market_identifier, is_korean_exchange, "
        "converted_last_usd, converted_volume_usd, collected_at) "
        "VALUES ('b', 'bitcoin', 'BTC', 'Bitcoin', 'BTC', 'KRW', 'Upbit', 'upbit', TRUE, 50400, "
        "200000, %s)",
        SLOT.replace(tzinfo=None),
    )
    execute(
        postgres_dsn,
        "INSERT INTO coingecko_tickers_bithumb (market_code, coingecko_id, symbol, base, target, "
        "exchange_name, exchange_id, converted_last_usd, converted_volume_usd, timestamp) VALUES "
        "('KRW-BTC', 'bitcoin', 'BTC', 'BTC', 'KRW', 'Upbit', 'upbit', 103, 1, now()), "
        "('KRW-BTC', 'bitcoin', 'BTC', 'BTC', 'USDT', 'Binance', 'binance', 100, 1, now())",
    )
    found = {
        view: rows(postgres_dsn, f"SELECT * FROM {view}")
        for (view,) in rows(
            postgres_dsn,
            "SELECT viewname FROM pg_views WHERE schemaname = 'public' ORDER BY viewname",
        )
    }

    assert {
        "coingecko_bithumb_mapping", "crypto_detail_with_bithumb", "latest_derivatives_summary",
        "derivatives_by_market", "latest_crypto_market_overview", "exchange_liquidity_analysis",
        "kimchi_premium_realtime", "coin_price_consistency", "v_kimchi_premium_realtime",
    } <= {view for view, some in found.items() if some}  # fmt: skip
    assert rows(
        postgres_dsn,
        "SELECT sum(contract_count), sum(total_volume_24h_usd) FROM latest_derivatives_summary",
    ) == rows(postgres_dsn, "SELECT count(*), sum(volume_24h_usd) FROM coingecko_derivatives")
    assert rows(
        postgres_dsn, "SELECT market_phase, btc_dominance_level FROM latest_crypto_market_overview"
    ) == [("Stable", "Altseason")]
    [premium] = rows(
        postgres_dsn,
        "SELECT korean_exchange, global_exchanges, premium_percentage > 2 "
        "FROM kimchi_premium_realtime",
    )
    assert premium[0] == "upbit"
    assert premium[1] >= 2
    assert premium[2]
    assert rows(
        postgres_dsn, "SELECT premium_usd, premium_percentage FROM v_kimchi_premium_realtime"
    ) == [(3, 3)]


# Lists -------------------------------------------------------------------------------------------


async def pruned(dsn: str, spec: JobSpec, run: Run) -> int:
    """Do what a whole collection ends with."""
    async with session(dsn, name="test") as connection:
        return await JobStore(connection, spec, run, cycle_of(spec, run.slot)).prune()


def markets(*codes: str) -> str:
    return json.dumps([{"market": c, "korean_name": "k", "english_name": "e"} for c in codes])


async def test_a_vanished_market_is_removed_and_a_short_answer_is_not_believed(postgres_dsn: str):
    """F-23."""
    spec = bithumb_markets.SPEC
    codes = [f"KRW-C{n}" for n in range(10)]
    slots = [SLOT + timedelta(days=n) for n in range(4)]
    runs = [Run(spec.name, slot, slot) for slot in slots]

    await store_recorded(postgres_dsn, spec, markets(*codes), request=ANY, run=runs[0])
    assert await pruned(postgres_dsn, spec, runs[0]) == 0
    await store_recorded(postgres_dsn, spec, markets(*codes[:9]), request=ANY, run=runs[1])
    assert await pruned(postgres_dsn, spec, runs[1]) == 1
    await store_recorded(postgres_dsn, spec, markets(*codes[:3]), request=ANY, run=runs[2])
    assert await pruned(postgres_dsn, spec, runs[2]) == 0
    assert await pruned(postgres_dsn, spec, runs[3]) == 0  # whose answer was no list

    stored = rows(postgres_dsn, "SELECT market_code FROM market_code_bithumb ORDER BY 1")
    assert stored == [(code,) for code in codes[:9]]


def constituents(name: str) -> str:
    """Return a recorded state of the index as a page."""
    with (PAYLOADS / "sp500" / name).open(newline="") as file:
        lines = list(csv.reader(file))
    cells = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>"
        for line in lines
    )
    return f"<html><table>{cells}</table></html>"


async def test_who_leaves_the_index_stays_in_the_table(postgres_dsn: str):
    """F-28: and is a member again when it comes back. Two recorded states of the index."""
    spec = sp500_companies.SPEC
    old, new = constituents("constituents_2024-01-17.csv"), constituents("constituents.csv")
    runs = [Run(spec.name, slot, slot) for slot in (SLOT, SLOT + timedelta(days=7))]

    first = await store_recorded(postgres_dsn, spec, old, request=ANY, run=runs[0], source=1)
    assert (first.new, first.parked) == (503 + 1, 0)
    again = await store_recorded(postgres_dsn, spec, old, request=ANY, run=runs[0], source=1)
    assert (again.new, again.changed) == (0, 0)
    await store_recorded(postgres_dsn, spec, new, request=ANY, run=runs[1], source=1)
    left = await pruned(postgres_dsn, spec, runs[1])

    members = "SELECT count(*) FROM sp500_companies WHERE is_member"
    assert left > 20
    assert rows(postgres_dsn, members) == [(503,)]
    [gone] = rows(
        postgres_dsn,
        "SELECT is_member, removed_at FROM sp500_companies WHERE symbol = 'DXC' OR symbol = 'DISH' "
        "OR symbol = 'WHR' ORDER BY symbol LIMIT 1",
    )
    assert gone == (False, (SLOT + timedelta(days=7)).replace(tzinfo=None))
    run = Run(spec.name, SLOT + timedelta(days=14), SLOT)
    await store_recorded(postgres_dsn, spec, old, request=ANY, run=run, source=1)
    await pruned(postgres_dsn, spec, run)
    assert rows(postgres_dsn, members + " AND removed_at IS NULL") == [(503,)]
    assert rows(postgres_dsn, "SELECT cik FROM sp500_companies WHERE symbol = 'MMM'") == [
        ("0000066740",)
    ]


# What is made from our own tables ----------------------------------------------------------------


async def store_derived(
    dsn: str, spec: JobSpec, inputs: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
) -> RowCounts:
    """Derive and store, as a run does."""
    async with session(dsn, name="test") as connection:
        found = inputs if inputs is not None else await read_inputs(connection, spec.inputs)
        run = Run(spec.name, SLOT, SLOT, inputs={name: tuple(some) for name, some in found.items()})
        store = JobStore(connection, spec, run, cycle_of(spec, SLOT))
        assert spec.derive is not None
        result = Collected(ANY, "done", rows=tuple(spec.derive(run)))
        counts = (await store.save("own tables", [result])).counts
        counts.changed += await store.prune()
        return counts


async def test_a_persons_mapping_outlives_every_run(postgres_dsn: str):
    """F-24: and a market that is gone keeps its row."""
    spec = bithumb_coingecko_mapping.SPEC
    market_list = (PAYLOADS / "bithumb" / "v1_market_all_2025-08-26.json").read_text()
    coins = (PAYLOADS / "coingecko" / "coins_markets_row_2025-06-24.json").read_text()
    await store_recorded(postgres_dsn, bithumb_markets.SPEC, market_list, request=ANY)
    await store_recorded(postgres_dsn, coingecko_id_mapping.SPEC, coins, request=ANY)
    won = sum(one["market"].startswith("KRW-") for one in json.loads(market_list))

    first = await store_derived(postgres_dsn, spec)
    assert (first.new, first.changed) == (won, 0)
    assert (again := await store_derived(postgres_dsn, spec)).new == again.changed == 0

    execute(postgres_dsn, "SELECT update_mapping_verification('KRW-ETH', 'another-coin', 'me')")
    execute(postgres_dsn, "DELETE FROM market_code_bithumb WHERE market_code = 'KRW-XRP'")
    third = await store_derived(postgres_dsn, spec)

    assert (third.new, third.changed) == (0, 1)
    found = "SELECT coingecko_id, match_method, is_active FROM bithumb_coingecko_mapping "
    assert rows(postgres_dsn, found + "WHERE market_code = 'KRW-ETH'") == [
        ("another-coin", "MANUAL_MAPPING", True)
    ]
    assert rows(postgres_dsn, found + "WHERE market_code = 'KRW-XRP'") == [
        ("ripple", "HARDCODED_MAPPING", False)
    ]
    price = "SELECT coingecko_name, current_price_usd FROM bithumb_coingecko_mapping "
    assert rows(postgres_dsn, price + "WHERE market_code = 'KRW-BTC'") == [
        ("Bitcoin", Decimal("105652.65330358183"))
    ]
    async with session(postgres_dsn, name="test") as connection:
        inputs = await read_inputs(connection, coingecko_tickers_bithumb.SPEC.inputs)
    assert inputs["mapping"][0]["coingecko_id"] == "bitcoin"
    assert "ripple" not in {row["coingecko_id"] for row in inputs["mapping"]}


async def test_a_digest_names_its_articles_by_number(postgres_dsn: str):
    """Twice the same; then one more event gets a number of its own."""
    spec = sp500_earnings_digest.SPEC
    event = {
        "symbol": "AAPL", "company_name": "Apple Inc.", "report_date": date(2026, 7, 30),
        "fiscal_date_ending": date(2026, 6, 30), "estimate": Decimal("1.4312"), "currency": "USD",
        "time_of_day": None, "gics_sector": "IT", "gics_sub_industry": None, "headquarters": None,
    }  # fmt: skip
    article = {
        "symbol": "AAPL", "report_date": date(2026, 7, 30), "source_table": "company_news",
        "url": "https://example.com/a", "title": "A", "summary": None, "source": "x",
        "published_at": datetime(2026, 7, 29, 12),
    }  # fmt: skip

    first = await store_derived(postgres_dsn, spec, {"events": [event], "articles": [article]})
    known = [{"id": 1, "symbol": "AAPL", "report_date": date(2026, 7, 30)}]
    inputs = {"events": [event], "articles": [article], "known": known}
    again = await store_derived(postgres_dsn, spec, inputs)
    more = {**inputs, "events": [{**event, "symbol": "A"}, event]}
    third = await store_derived(postgres_dsn, spec, more)

    assert (first.new, again.new, again.changed, third.new, third.changed) == (2, 0, 0, 1, 0)
    assert rows(
        postgres_dsn,
        "SELECT calendar.id, symbol, estimate, forecast_news_count, url, published_at "
        "FROM sp500_earnings_calendar AS calendar "
        "LEFT JOIN sp500_earnings_news AS news ON calendar_id = calendar.id ORDER BY 1",
    ) == [
        (1, "AAPL", Decimal("1.4312"), 1, "https://example.com/a", datetime(2026, 7, 29, 12)),
        (2, "A", Decimal("1.4312"), 0, None, None),
    ]


@pytest.mark.parametrize(
    "spec",
    [
        bithumb_coingecko_mapping.SPEC,
        coingecko_coin_details.SPEC,
        coingecko_tickers.SPEC,
        coingecko_tickers_bithumb.SPEC,
        financials.SPEC,
        sp500_earnings_digest.SPEC,
    ],
    ids=lambda spec: spec.name,
)
async def test_queries_of_the_inputs_can_be_asked(postgres_dsn: str, spec: JobSpec):
    """Of tables that other jobs fill."""
    async with session(postgres_dsn, name="test") as connection:
        found = await read_inputs(connection, spec.inputs)

    assert set(found) == set(spec.inputs)


async def test_a_digest_finds_its_articles_in_all_tables(postgres_dsn: str):
    """By symbol, by Alpha Vantage's symbol, and by name."""
    today = datetime.now(UTC)
    report = today.date() + timedelta(days=3)
    before = (today - timedelta(days=2)).replace(tzinfo=None)
    execute(
        postgres_dsn,
        "INSERT INTO sp500_companies (symbol, company_name) VALUES ('BRK.B', 'Berkshire Hathaway')",
    )
    execute(
        postgres_dsn,
        "INSERT INTO earnings_calendar (symbol, report_date, estimate) VALUES ('BRK.B', %s, 4.5)",
        report,
    )
    execute(
        postgres_dsn,
        "INSERT INTO company_news (symbol, url, title, published_at) "
        "VALUES ('BRK.B', 'u1', 't', %s)",
        before,
    )
    execute(
        postgres_dsn,
        "INSERT INTO market_news (source, url, title, published_at) "
        "VALUES ('s', 'u2', 'Berkshire Hathaway buys', %s)",
        before,
    )
    execute(
        postgres_dsn,
        "INSERT INTO market_news_sentiment (batch_id, url, title, time_published, query_type, "
        """ticker_sentiment) VALUES (1, 'u3', 't', %s, 'q', '[{"ticker": "BRK-B"}]')""",
        before,
    )

    counts = await store_derived(postgres_dsn, sp500_earnings_digest.SPEC)

    assert counts.new == 1 + 3
    assert rows(
        postgres_dsn, "SELECT source_table, url, news_section FROM sp500_earnings_news ORDER BY url"
    ) == [
        ("company_news", "u1", "forecast"),
        ("market_news", "u2", "forecast"),
        ("market_news_sentiment", "u3", "forecast"),
    ]
    again = await store_derived(postgres_dsn, sp500_earnings_digest.SPEC)
    assert (again.new, again.changed) == (0, 0)


# Yahoo -------------------------------------------------------------------------------------------


async def test_statements_are_exact(postgres_dsn: str):
    """And a figure that is left out later stays."""
    text = (PAYLOADS / (FUNDAMENTALS + "financials-annual.json")).read_text()
    await store_recorded(postgres_dsn, financials.SPEC, text, request=ANNUAL)
    body = json.loads(text)
    for one in body["timeseries"]["result"]:
        one.pop("annualEBITDA", None)
    later = await store_recorded(postgres_dsn, financials.SPEC, json.dumps(body), request=ANNUAL)

    assert (later.new, later.changed) == (0, 0)
    assert rows(
        postgres_dsn,
        "SELECT net_income, basic_eps, ebitda IS NULL FROM income_stmt "
        "WHERE symbol = 'AAPL' AND fiscal_date_ending = '2024-09-30'",
    ) == [(93736000000, Decimal("6.11"), False)]


async def test_owners_and_reactions_are_stored_once(postgres_dsn: str):
    """Composed answers: none of these was recorded."""
    trade = {"filerName": "A", "startDate": 1751241600, "shares": 3, "value": 10}
    owners = {
        "institutionOwnership": {"ownershipList": [{"organization": "V", "pctHeld": 0.0843}]},
        "insiderTransactions": {"transactions": [trade, trade]},
    }
    owner_text = json.dumps({"quoteSummary": {"result": [owners], "error": None}})
    reports = [{"Earnings Date": "July 30, 2026 at 4 PM EDT", "Reported EPS": "1.85"}]
    prices = Request("AAPL", "/", facts={"reports": json.dumps(reports)}, page=1)
    stamps = [int(datetime(2026, 7, day, 13, 30, tzinfo=UTC).timestamp()) for day in (30, 31)]
    quote = {"open": [99, 110], "close": [100, 105.5]}
    chart = {"timestamp": stamps, "indicators": {"quote": [quote]}}
    price_text = json.dumps({"chart": {"result": [chart], "error": None}})

    for expected in (3, 0):
        counts = await store_recorded(
            postgres_dsn, company_ownership.SPEC, owner_text, request=Request("AAPL", "/")
        )
        assert (counts.new, counts.changed, counts.parked) == (expected, 0, 0)
    for expected in (1, 0):
        counts = await store_recorded(
            postgres_dsn, earnings_history.SPEC, price_text, request=prices
        )
        assert (counts.new, counts.changed, counts.parked) == (expected, 0, 0)

    assert (
        rows(
            postgres_dsn, "SELECT price, shares_owned_after, transaction_type FROM insider_trading"
        )
        == [(Decimal("3.333333"), None, "Other")] * 2
    )
    assert rows(postgres_dsn, "SELECT pct_out FROM institutional_holders") == [(Decimal("8.43"),)]
    assert rows(
        postgres_dsn,
        "SELECT report_date, reaction_date, price_before_close, gap_pct, move_pct, reported_at "
        "FROM earnings_history",
    ) == [
        (
            date(2026, 7, 30), date(2026, 7, 31), 100, 10, Decimal("5.5"),
            datetime(2026, 7, 30, 20, tzinfo=UTC),
        )
    ]  # fmt: skip


# Whole runs --------------------------------------------------------------------------------------

ORDER = (
    bithumb_markets.SPEC,
    coingecko_id_mapping.SPEC,
    bithumb_coingecko_mapping.SPEC,
    coingecko_coin_details.SPEC,
    coingecko_derivatives.SPEC,
    coingecko_global.SPEC,
    coingecko_tickers.SPEC,
    coingecko_tickers_bithumb.SPEC,
    financials.SPEC,
    earnings_history.SPEC,
    company_ownership.SPEC,
)


async def test_every_job_fills_its_tables_from_simulated_providers(postgres_dsn: str):
    """From plan to rows, in the order in which they depend on each other."""
    for symbol in ("AAPL", "BRK.B"):
        execute(
            postgres_dsn,
            "INSERT INTO sp500_companies (symbol, company_name) VALUES (%s, 'x')",
            symbol,
        )
    ended = {}
    async with RestSimulator() as simulator:
        settings = Settings(
            postgres=PostgresSettings(dsn=postgres_dsn),
            api_keys={"coingecko": ["one", "two", "three", "four"]},
            jobs=JobSettings(speed=1000),
            endpoints={one.name: {"rest_url": simulator.url(one.name)} for one in all_providers()},
        )
        slot = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        for spec in ORDER:
            outcome = await collect(settings, spec, slot)
            ended[spec.name] = (outcome.state, outcome.counts.parked, outcome.why)

    assert {name: end for name, end in ended.items() if end[:2] != ("succeeded", 0)} == {}
    for spec in ORDER:
        for table in spec.tables:
            assert rows(postgres_dsn, f"SELECT count(*) FROM {table.name}")[0][0] > 0, table.name
    assert rows(postgres_dsn, "SELECT DISTINCT symbol FROM earnings_history ORDER BY 1") == [
        ("AAPL",),
        ("BRK.B",),
    ]


@pytest.mark.parametrize(("keys", "source"), [({}, "wikipedia"), ({"fmp": ["key"]}, "fmp")])
async def test_the_index_comes_from_fmp_where_there_is_a_key(
    postgres_dsn: str, keys: dict[str, list[str]], source: str
):
    """Else from Wikipedia; a company that neither names is no member any more."""
    execute(
        postgres_dsn, "INSERT INTO sp500_companies (symbol, company_name) VALUES ('GONE', 'Gone')"
    )
    async with RestSimulator() as simulator:
        settings = Settings(
            postgres=PostgresSettings(dsn=postgres_dsn),
            api_keys=keys,
            endpoints={one.name: {"rest_url": simulator.url(one.name)} for one in all_providers()},
        )
        outcome = await collect(settings, sp500_companies.SPEC, SLOT)

    assert (outcome.state, outcome.why) == ("succeeded", "")
    [(members, left)] = rows(
        postgres_dsn,
        "SELECT count(*) FILTER (WHERE is_member AND source = %s), "
        "count(*) FILTER (WHERE symbol = 'GONE' AND NOT is_member) FROM sp500_companies",
        source,
    )
    assert 480 <= members <= 520
    assert left == 1

"""
Every dataset against answers that lack their data: stored figures survive, and no run is green.

The runner and the store of runs are real. The answers are those of the simulated providers, changed
on their way.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

import psycopg
import pytest
from psycopg import sql

from ray_pipeline.batch.outcome import Outcome
from ray_pipeline.batch.progress import cycle_of
from ray_pipeline.batch.run_ports import Dependencies
from ray_pipeline.batch.runner import run_job
from ray_pipeline.catalog import all_jobs, job
from ray_pipeline.jobs.spec import Empty, JobSpec, Json, Request, Run, Source
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.yahoo import YahooClient
from ray_pipeline.simulators.bodies import generate
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.job_inputs import next_batch, read_inputs
from ray_pipeline.storage.postgres.job_store import JobStore
from ray_pipeline.storage.postgres.payloads import dead_letters_of_jobs, reread
from ray_pipeline.transport.answer import Answer
from ray_pipeline.transport.counted import NextCall
from tests.batch_runs import FakeClock, FakeLimiter

NOW = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
SLOT = NOW - timedelta(days=90)
GREEN = {"succeeded", "nothing_new"}
SOURCES = [
    pytest.param(spec, position, id=f"{spec.name}-{source.provider.name}")
    for spec in all_jobs()
    for position, source in enumerate(spec.sources)
]
# A row of these tables says something by its key alone: a report on a date, an owner of shares.
KEY_IS_A_ROW = {"earnings_calendar", "institutional_holders"}
SETUP = """
    INSERT INTO sp500_companies (symbol, company_name) VALUES ('AAPL', 'Apple'), ('IBM', 'IBM');
    INSERT INTO etf_basic_info (symbol, name) VALUES ('QQQ', 'Invesco'), ('SPY', 'SPDR');
    INSERT INTO coingecko_id_mapping (coingecko_id, symbol, name, market_cap_rank)
    VALUES ('bitcoin', 'BTC', 'Bitcoin', 1), ('ethereum', 'ETH', 'Ethereum', 2);
    INSERT INTO earnings_calendar (symbol, report_date)
    SELECT 'AAPL', day::date
    FROM generate_series(%(slot)s, %(slot)s + interval '2 years', '7 days') AS day;
    INSERT INTO bithumb_coingecko_mapping (market_code, symbol, coingecko_id, match_method)
    VALUES ('KRW-BTC', 'BTC', 'bitcoin', 'HARDCODED_MAPPING');
    INSERT INTO x_user_profiles (username, user_id, source)
    VALUES ('elonmusk', '44196397', 'x'), ('saylor', '244647486', 'x'), ('CNBC', '20402945', 'x');
"""

Change = Callable[[Request, str], Answer]


def ok(text: str) -> Answer:
    return Answer(200, {}, text, NOW)


def unchanged(_request: Request, text: str) -> Answer:
    return ok(text)


def body_of(provider: Provider, request: Request) -> str:
    path = request.path
    return generate(provider.name, path, request.params, seed=1).text


@dataclass
class ChangedProvider:
    """Answers as the simulated provider does, with each answer changed on its way."""

    change: Change
    requests: list[Request] = field(default_factory=list)

    async def fetch(
        self,
        provider: Provider,
        request: Request,
        *,
        key: str,
        largest_bytes: int,
        next_call: NextCall,
    ) -> Answer:
        async with next_call():
            self.requests.append(request)
        answer = self.change(request, body_of(provider, request))
        if provider.name != "yahoo":
            return answer
        # The page of Yahoo's calendar reaches the runner as JSON.
        client = YahooClient(OneAnswer(answer))
        return await client.fetch(
            request.path,
            request.params,
            key=key,
            largest_bytes=largest_bytes,
            next_call=next_call,
        )


@dataclass
class OneAnswer:
    """A client with one answer."""

    answer: Answer

    async def fetch(
        self,
        path: str,
        params: Mapping[str, str],
        *,
        key: str,
        largest_bytes: int,
        next_call: NextCall,
    ) -> Answer:
        return self.answer


@dataclass
class Dataset:
    """A job with one of its sources, and its tables."""

    dsn: str
    spec: JobSpec
    slots: int = 0

    @property
    def source(self) -> Source:
        return self.spec.sources[0]

    async def run(self, change: Change = unchanged) -> Outcome:
        """Run the job for its next slot."""
        self.slots += 1
        slot = SLOT + self.slots * timedelta(days=7)  # the same weekday: the same queries
        if self.spec.sweep:
            execute(
                self.dsn,
                "UPDATE job_items SET done_at = done_at - interval '1 year', "
                "not_before = not_before - interval '1 year'",
            )
        fetcher = ChangedProvider(change)
        async with session(self.dsn, name="test") as connection:
            run = Run(
                self.spec.name,
                slot,
                slot,
                batch=await next_batch(connection, self.spec, slot),
                inputs=await read_inputs(connection, self.spec.inputs),
            )
            dependencies = Dependencies(
                store=JobStore(connection, self.spec, run, cycle_of(self.spec, slot)),
                limiter=FakeLimiter(),
                fetcher=fetcher,
                keys={self.source.provider.name: ["key"]},
                clock=lambda: datetime.now(UTC),
                sleep=FakeClock().sleep,
                random=Random(1),
            )
            outcome = await run_job(self.spec, run, dependencies)
        assert fetcher.requests
        return outcome

    def rows(self) -> dict[str, dict[tuple[object, ...], dict[str, object]]]:
        """Return the stored rows of every table, by key."""
        stored: dict[str, dict[tuple[object, ...], dict[str, object]]] = {}
        for table in self.spec.tables:
            names = [*table.key, *sorted(set(table.columns) - set(table.key))]
            query = sql.SQL("SELECT {} FROM {}").format(
                sql.SQL(", ").join(map(sql.Identifier, names)), sql.Identifier(table.name)
            )
            with psycopg.connect(self.dsn) as connection:
                for values in connection.execute(query).fetchall():
                    key = values[: len(table.key)]
                    row = dict(zip(names, values, strict=True))
                    stored.setdefault(table.name, {})[key] = row
        return stored

    def lost(self, before: dict[str, dict[tuple[object, ...], dict[str, object]]]) -> list[object]:
        """Return the stored figures that are gone: of missing rows, or replaced by nothing."""
        after = self.rows()
        return [
            (table, key, name, value, after.get(table, {}).get(key, {}).get(name))
            for table, rows in before.items()
            for key, row in rows.items()
            for name, value in row.items()
            if table != "listings"
            and value not in (None, [], "", 0, False)
            and after.get(table, {}).get(key, {}).get(name) in (None, [], "", 0, False)
        ]


def execute(dsn: str, statement: str, **values: object) -> list[tuple]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = psycopg.ClientCursor(connection).execute(statement, values)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def dataset(postgres_dsn: str) -> Callable[[JobSpec, int], Dataset]:
    """Return the job of a spec with one of its sources, on a database with inputs."""
    execute(postgres_dsn, SETUP, slot=SLOT)

    def of(spec: JobSpec, position: int = 0) -> Dataset:
        small = replace(
            spec, sources=(spec.sources[position],), complete=False, inputs=inputs_of(spec)
        )
        return Dataset(postgres_dsn, small)

    return of


def inputs_of(spec: JobSpec) -> Mapping[str, str]:
    """Return a job's inputs; ids of stored accounts are requested again."""
    return {} if spec.name == "x_user_profiles" else spec.inputs


# Answers without data ----------------------------------------------------------------------------

PAGE = "<!doctype html><html><body><h1>Service unavailable</h1></body></html>"
WITHOUT_DATA = {
    "an empty object": ok("{}"),
    "an empty list": ok("[]"),
    "null": ok("null"),
    "no text": ok(""),
    "a number": ok("5"),
    "a text": ok('"error"'),
    "an error": ok('{"error": "something went wrong"}'),
    "errors": ok('{"errors": [{"title": "x", "detail": "no"}]}'),
    "data null": ok('{"data": null, "meta": {}}'),
    "a page": ok(PAGE),
    "not found": Answer(404, {}, '{"message": "Not Found"}', NOW),
    "gone": Answer(410, {}, "Gone", NOW),
    "no content": Answer(204, {}, "", NOW),
}


@pytest.mark.parametrize(("spec", "position"), SOURCES)
async def test_an_answer_without_data_is_never_green(dataset, spec, position):
    """Whether the tables are empty or not; nothing that is stored changes."""
    of = dataset(spec, position)
    wrong = []
    for name in ("an empty object", "an empty list", "not found"):
        outcome = await of.run(lambda _request, _text, name=name: WITHOUT_DATA[name])
        if outcome.state in GREEN or not outcome.why:
            wrong.append((name, outcome.state))
    first = await of.run()
    before = of.rows()
    for name, answer in WITHOUT_DATA.items():
        outcome = await of.run(lambda _request, _text, answer=answer: answer)
        if outcome.state in GREEN and not is_quiet(of, name):
            wrong.append((f"{name} after data", outcome.state))
    last = await of.run()

    assert first.state == "succeeded"
    assert wrong == []
    assert of.lost(before) == []
    assert last.state in GREEN


def is_quiet(of: Dataset, name: str) -> bool:
    """Return whether an empty list is a valid answer: no article is newer than the stored ones."""
    return of.spec.name == "market_news_finnhub" and name == "an empty list"


EMPTY_DOCUMENTS = {
    "balance_sheet": '{"symbol": "", "annualReports": [], "quarterlyReports": []}',
    "bithumb_markets": "[]",
    "coingecko_derivatives": "[]",
    "coingecko_id_mapping": "[]",
    "coingecko_tickers": '{"name": "Bitcoin", "tickers": []}',
    "coingecko_tickers_bithumb": '{"name": "Bitcoin", "tickers": []}',
    "company_news": "[]",
    "company_ownership": '{"quoteSummary": {"result": [], "error": null}}',
    "cpi": '{"observations": []}',
    "earnings_calendar": "symbol,name,reportDate,fiscalDateEnding,estimate,currency,timeOfTheDay\n",
    "earnings_news_finnhub": "[]",
    "federal_funds_rate": '{"observations": []}',
    "financials": '{"timeseries": {"result": [], "error": null}}',
    "inflation": '{"observations": []}',
    "market_news": '{"status": "ok", "totalResults": 0, "articles": []}',
    "news_sentiment": '{"items": "0", "feed": []}',
    "sp500_companies": "[]",
    "treasury_yield": '{"observations": []}',
    "truth_social_tags": "[]",
    "truth_social_trends": "[]",
    "x_posts_primary": '{"meta": {"result_count": 0}}',
    "x_user_profiles": '{"data": []}',
}


@pytest.mark.parametrize("name", EMPTY_DOCUMENTS)
async def test_a_run_of_valid_documents_without_rows_is_not_green(dataset, name):
    """Each document has the right shape: nothing but the declaration of the job tells."""
    of = dataset(job(name))

    outcome = await of.run(lambda _request, _text: ok(EMPTY_DOCUMENTS[name]))

    assert outcome.state in {"refused", "failed"}
    assert outcome.counts.new == 0


QUIET_DOCUMENTS = {
    "ipo_calendar": "symbol,name,ipoDate,priceRangeLow,priceRangeHigh,currency,exchange\n",
    "market_news_finnhub": "[]",
    "x_posts_primary": '{"meta": {"result_count": 0}}',
}


@pytest.mark.parametrize("name", QUIET_DOCUMENTS)
async def test_a_quiet_week_is_green(dataset, name):
    """No offering is planned, and no article or post is newer than the stored ones."""
    of = dataset(job(name))
    await of.run()

    outcome = await of.run(lambda _request, _text: ok(QUIET_DOCUMENTS[name]))

    assert (outcome.state, outcome.why) == ("nothing_new", "")


@pytest.mark.parametrize(
    ("name", "empty"), [("company_news", "[]"), ("balance_sheet", "{}"), ("etf_profile", "{}")]
)
async def test_one_item_without_data_does_not_fail_a_sweep(dataset, name, empty):
    of = dataset(job(name))
    first = next(iter(of.source.plan(Run(name, SLOT, SLOT, inputs=inputs(of))))).item

    outcome = await of.run(lambda request, text: ok(empty if request.item == first else text))

    assert outcome.state == "succeeded"
    assert outcome.items_done == 2


def inputs(of: Dataset) -> dict[str, tuple[dict[str, str], ...]]:
    symbols = ("AAPL", "IBM") if "members" in of.spec.inputs else ("QQQ", "SPY")
    return {name: tuple({"symbol": symbol} for symbol in symbols) for name in of.spec.inputs}


# Partial answers ---------------------------------------------------------------------------------


def without_key(text: str, name: str) -> str:
    """Return a JSON text without a key, wherever it stands."""

    def stripped(value: Json) -> Json:
        if isinstance(value, dict):
            return {key: stripped(part) for key, part in value.items() if key != name}
        return [stripped(part) for part in value] if isinstance(value, list) else value

    return json.dumps(stripped(json.loads(text)))


def without_column(text: str, name: str) -> str:
    """Return a CSV text without the values of a column."""
    header, *lines = text.splitlines()
    place = header.split(",").index(name)
    rows = [line.split(",") for line in lines]
    return "\n".join(
        [
            header,
            *(",".join("" if n == place else cell for n, cell in enumerate(row)) for row in rows),
        ]
    )


def names_in(text: str) -> set[str]:
    """Return every key of a JSON text, or the header of a CSV text."""

    def keys(value: Json) -> Iterator[str]:
        for part in value.values() if isinstance(value, dict) else value:
            if isinstance(part, dict | list):
                yield from keys(part)
        if isinstance(value, dict):
            yield from value

    if text.lstrip().startswith("<"):
        return set()
    if text.lstrip().startswith(("{", "[")):
        return set(keys(json.loads(text)))
    return set(text.splitlines()[0].split(","))


def is_json(text: str) -> bool:
    return text.lstrip().startswith(("{", "["))


def without(text: str, name: str) -> str:
    if is_json(text):
        return without_key(text, name)
    return without_column(text, name) if name in text.partition("\n")[0].split(",") else text


@pytest.mark.parametrize(("spec", "position"), SOURCES)
async def test_an_answer_without_one_of_its_fields_erases_nothing(dataset, spec, position):
    """Each field in turn is missing everywhere; the next complete answer is stored again."""
    of = dataset(spec, position)
    names: set[str] = set()

    def note(_request: Request, text: str) -> Answer:
        names.update(names_in(text))
        return ok(text)

    first = await of.run(note)
    before = of.rows()
    lost = {}
    for name in sorted(names):
        await of.run(lambda _request, text, name=name: ok(without(text, name)))
        if figures := of.lost(before):
            lost[name] = figures[:2]
    last = await of.run()

    assert first.state == "succeeded"
    assert lost == {}
    assert last.state in GREEN


def halved(text: str) -> str:
    """Return a text with the first half of each list, of its lines, or of the rows of its table."""
    if text.lstrip().startswith("<"):
        rows = re.findall(r"<tr.*?</tr>", text, re.DOTALL)
        for row in rows[len(rows) // 2 :]:
            text = text.replace(row, "", 1)
        return text
    if not is_json(text):
        lines = text.splitlines()
        return "\n".join(lines[: len(lines) // 2])
    body = json.loads(text)
    for part in list(_lists(body)):
        del part[(len(part) + 1) // 2 :]
    return json.dumps(body)


ONE_OBJECT = {"coingecko_global", "coingecko_coin_details", "company_overview"}


def _lists(value: Json) -> Iterator[list[Json]]:
    if isinstance(value, list):
        yield value
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, dict | list):
            yield from _lists(part)


@pytest.mark.parametrize(("spec", "position"), SOURCES)
async def test_half_of_an_answer_erases_nothing(dataset, spec, position):
    """If the dataset has a usual size, the half is kept aside, and a person may accept it."""
    of = dataset(spec, position)
    await of.run()
    before = of.rows()

    outcome = await of.run(lambda _request, text: ok(halved(text)))
    again = await of.run(lambda _request, text: ok(halved(text)))

    assert of.lost(before) == []
    if of.source.least and spec.name not in ONE_OBJECT:
        assert outcome.state == again.state == "failed"
        reasons = execute(of.dsn, "SELECT DISTINCT reason FROM dead_letters")
        assert reasons in ([("incomplete",)], [("unreadable",)])


# What the tables declare -------------------------------------------------------------------------


@pytest.mark.parametrize("spec", all_jobs(), ids=lambda spec: spec.name)
def test_every_job_declares_what_an_incomplete_answer_is(spec):
    """What an empty answer means, how small an answer may be, and what makes a row."""
    for source in spec.sources:
        assert isinstance(source.meaning_of_empty(Request("A", "/")), Empty)
        assert 0 <= source.least < 1
    for table in spec.tables:
        assert table.required >= set(table.key)
        links = set(table.columns) == set(table.key)
        assert table.required - set(table.key) or links or table.name in KEY_IS_A_ROW, table.name


# Another document, another item ------------------------------------------------------------------


def documents(provider: str) -> dict[str, str]:
    """Return the first answer of each dataset of a provider."""
    texts = {}
    for spec in all_jobs():
        for source in spec.sources:
            if source.provider.name == provider:
                request = next(iter(source.plan(Run(spec.name, SLOT, SLOT, inputs=SAMPLE))), None)
                if request is not None:
                    texts[spec.name] = body_of(source.provider, request)
    return texts


SAMPLE = {
    "members": ({"symbol": "AAPL"},),
    "funds": ({"symbol": "QQQ"},),
    "coins": ({"coingecko_id": "bitcoin"},),
    "events": (
        {"symbol": "AAPL", "report_date": (SLOT + timedelta(days=3)).date(), "company_name": "A"},
    ),
    "profiles": ({"handle": "elonmusk", "user_id": "1"}, {"handle": "saylor", "user_id": "2"}),
}
# FRED's series, the lists of articles of Finnhub, the statuses of Truth Social and the posts of X
# have one shape for all datasets, and name none.
SAME_SHAPE = (
    {"cpi", "federal_funds_rate", "inflation", "treasury_yield"},
    {"company_news", "market_news_finnhub", "earnings_news_finnhub"},
    {"x_posts_primary", "x_posts_secondary"},
    {"coingecko_tickers", "coingecko_tickers_bithumb"},
)


@pytest.mark.parametrize(("spec", "position"), SOURCES)
async def test_the_document_of_another_dataset_is_never_stored(dataset, spec, position):
    """It is neither data nor "nothing new", and adds no row of NULLs."""
    of = dataset(spec, position)
    await of.run()
    before = of.rows()
    provider = of.source.provider.name
    wrong = []
    for name, text in documents(provider).items():
        alike = any({name, spec.name} <= names for names in SAME_SHAPE)
        if name == spec.name or (alike and provider != "alpha_vantage"):
            continue
        outcome = await of.run(lambda _request, _text, text=text: ok(text))
        if outcome.state in GREEN or outcome.counts.new:
            wrong.append((name, outcome.state, outcome.counts.new))

    assert wrong == []
    assert of.lost(before) == []


NAMES_ITS_ITEM = (
    "balance_sheet",
    "company_overview",
    "coingecko_coin_details",
    "earnings_history",
    "financials",
    "x_posts_primary",
)


@pytest.mark.parametrize("name", NAMES_ITS_ITEM)
async def test_an_answer_about_another_item_is_refused(dataset, name):
    """IBM's figures are never stored as Apple's."""
    of = dataset(job(name))

    def of_another(_request: Request, text: str) -> Answer:
        other = re.sub(r"AAPL|IBM", "MSFT", text)
        other = re.sub(r"\bbitcoin\b|\bethereum\b", "dogecoin", other)
        return ok(re.sub(r'("author_id": )"\d+"', r'\1"5"', other))

    outcome = await of.run(of_another)

    assert outcome.state == "refused"
    assert "was requested, and the answer is about" in outcome.why
    assert outcome.counts.new == 0


# The cases that were seen ------------------------------------------------------------------------


async def test_a_fund_keeps_its_holdings(dataset):
    """Neither an answer with the net assets alone nor one with fewer holdings replaces them."""
    of = dataset(job("etf_profile"))
    await of.run()
    before = of.rows()

    bare = await of.run(lambda _request, _text: ok('{"net_assets": "1"}'))
    fewer = await of.run(lambda _request, text: ok(halved(text)))

    assert (bare.state, fewer.state) == ("failed", "failed")
    assert "kept aside" in fewer.why
    assert of.rows() == before


async def test_an_income_statement_is_no_balance_sheet(dataset):
    of = dataset(job("balance_sheet"))
    income = {"fiscalDateEnding": "2026-03-31", "reportedCurrency": "USD", "totalRevenue": "5"}
    body = json.dumps({"quarterlyReports": [income] * 81})

    outcome = await of.run(lambda _request, _text: ok(body))

    assert outcome.state == "failed"
    assert "2 of 2 items failed: AAPL: 81 of 81 parts of the answer are unreadable" in outcome.why
    assert of.rows() == {}


async def test_a_smaller_answer_is_stored_when_a_person_accepts_it(dataset):
    """It becomes the usual size: the next answer like it is stored."""
    of = dataset(job("cpi"))
    await of.run()

    def short(_request: Request, text: str) -> Answer:
        body = json.loads(text)
        points = [point | {"value": "5.5"} for point in body["observations"][:10]]
        return ok(json.dumps(body | {"observations": points, "count": len(points)}))

    aside = await of.run(short)
    unread = execute(of.dsn, "SELECT count(*) FROM cpi WHERE cpi_value = 5.5")
    letters = [number for (number,) in execute(of.dsn, "SELECT id FROM dead_letters")]
    async with session(of.dsn, name="test") as connection:
        payloads = await dead_letters_of_jobs(connection, letters)
    stored, bad = await reread(of.dsn, list(payloads.values()))
    accepted = await of.run(short)

    assert aside.state == "failed"
    assert unread == [(0,)]
    assert (stored, bad) == (10, 0)
    assert accepted.state == "nothing_new"


async def test_a_counter_that_is_missing_does_not_become_zero(dataset):
    """A default is stored with a new row only; a counter that is sent as 0 is a value."""
    of = dataset(job("x_posts_primary"))
    of.spec = replace(of.spec, inputs={"profiles": of.spec.inputs["profiles"]})
    counters = "SELECT sum(like_count), bool_or(user_verified) FROM x_posts"

    def zero(_request: Request, text: str) -> Answer:
        return ok(re.sub(r'"like_count": \d+', '"like_count": 0', text))

    await of.run()
    before = execute(of.dsn, counters)
    await of.run(lambda _request, text: ok(without(without(text, "public_metrics"), "verified")))
    missing = execute(of.dsn, counters)
    await of.run(zero)

    assert before[0][0] > 0
    assert missing == before
    assert execute(of.dsn, counters)[0][0] == 0


async def test_a_currency_that_the_answer_does_not_name_is_null(dataset):
    of = dataset(job("earnings_calendar"), 1)
    execute(of.dsn, "DELETE FROM earnings_calendar")

    await of.run()

    assert execute(of.dsn, "SELECT DISTINCT currency FROM earnings_calendar") == [(None,)]

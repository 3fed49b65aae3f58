"""A venue's REST API over a socket: permits, refused symbols, outages, requested pauses."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from ray_pipeline.batch.permits import NotBefore, Permit
from ray_pipeline.errors import DatabaseUnavailable, FeedRefused, FeedUnavailable
from ray_pipeline.feeds import bithumb
from ray_pipeline.storage.postgres.shared_ledger import SharedLedger
from ray_pipeline.storage.venue_permits import VenuePermits
from ray_pipeline.storage.venue_rest import LARGEST_BYTES, MOST_REFUSALS, VenueRest
from ray_pipeline.stream.exclusions import FIRST_S, LONGEST_S
from tests.fake_feed import EveryCall
from tests.streams import rows

NOW = datetime(2026, 9, 23, 3, 18, 34, tzinfo=UTC)
MARKETS = [f"KRW-{number:03d}" for number in range(450)]
NOT_FOUND = {"error": {"name": 404, "message": "Code not found"}}


class Venue:
    """Answers tickers; the test decides which markets exist and which answer replaces them."""

    def __init__(self) -> None:
        self.unknown: set[str] = set()
        self.calls: list[list[str]] = []
        self.times_s: list[float] = []
        self.fault: tuple[int, str | bytes, list[tuple[str, str]]] | None = None
        self.fault_from = 0  # the number of the first faulty call
        self.fault_until = 10**9
        self.concurrent = self.most_concurrent = 0
        self.now = NOW
        self.permits = EveryCall()

    async def answer(self, request: web.Request) -> web.Response:
        markets = request.query["markets"].split(",")
        self.calls.append(markets)
        self.times_s.append(asyncio.get_running_loop().time())
        self.concurrent += 1
        self.most_concurrent = max(self.most_concurrent, self.concurrent)
        await asyncio.sleep(0)
        self.concurrent -= 1
        if self.fault and self.fault_from < len(self.calls) <= self.fault_until:
            status, body, headers = self.fault
            return web.Response(status=status, body=body, headers=headers)
        if self.unknown & set(markets):
            return web.json_response(NOT_FOUND)
        return web.json_response([{"market": code, "timestamp": 1} for code in markets])

    @contextlib.asynccontextmanager
    async def serving(self):
        app = web.Application()
        app.router.add_get("/v1/ticker", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            yield VenueRest(
                bithumb.FEED.protocol, f"http://127.0.0.1:{port}", self.permits,
                now=lambda: self.now,
            )  # fmt: skip
        finally:
            await runner.cleanup()


async def markets_of(rest: VenueRest, symbols=MARKETS) -> list[str]:
    return [raw.market async for events in rest.records(symbols) for raw in events]


async def test_each_call_has_a_permit_and_calls_do_not_overlap():
    venue = Venue()
    async with venue.serving() as rest:
        await asyncio.gather(markets_of(rest), markets_of(rest))

    assert venue.permits.permits == len(venue.calls) == 10
    assert venue.most_concurrent == 1


async def test_a_refused_market_is_excluded_and_tried_again():
    """The others are delivered; the reason and the time are visible; a listed market returns."""
    venue = Venue()
    venue.unknown = {"KRW-007", "KRW-449"}
    async with venue.serving() as rest:
        assert set(await markets_of(rest)) == set(MARKETS) - venue.unknown
        assert "KRW-007 until 03:28:34 UTC" in rest.exclusions.describe()
        assert "Code not found" in rest.exclusions.describe()

        calls = len(venue.calls)
        await markets_of(rest)
        assert len(venue.calls) - calls == 5  # no halving, no excluded market

        venue.now += timedelta(seconds=FIRST_S)
        venue.unknown = {"KRW-449"}
        assert "KRW-007" in await markets_of(rest)
        assert len(rest.exclusions) == 1


async def test_a_market_is_excluded_for_a_bounded_time_however_often_it_is_refused():
    venue = Venue()
    venue.unknown = {"KRW-007"}
    async with venue.serving() as rest:
        for _ in range(12):
            await markets_of(rest, MARKETS[:20])
            venue.now += timedelta(seconds=LONGEST_S)
        venue.unknown = set()

        assert "KRW-007" in await markets_of(rest, MARKETS[:20])


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, json.dumps(NOT_FOUND)),
        (404, json.dumps(NOT_FOUND)),
        (400, json.dumps({"error": {"name": 400, "message": "no"}})),
        (404, '{"name":"not_found","message":"No Route matched with those values"}'),
        (400, "<html>gateway</html>"),
        (404, ""),
        (414, "too long"),
        (200, "<html>maintenance</html>"),
        (200, '{"status":"5500","message":"error"}'),
        (200, b"\xff\x00"),
        (500, "oops"),
        (502, json.dumps(NOT_FOUND)),
        (200, "x" * (LARGEST_BYTES + 1)),
    ],
)
@pytest.mark.parametrize("healthy_before", [False, True])
@pytest.mark.parametrize("fault_from", [0, 2])
async def test_an_outage_excludes_no_market(status, body, healthy_before, fault_from):
    """However it looks, whenever it begins. The calls are few, and the next round delivers all."""
    venue = Venue()
    async with venue.serving() as rest:
        if healthy_before:
            await markets_of(rest)
        calls = len(venue.calls)
        venue.fault, venue.fault_from = (status, body, []), calls + fault_from
        with pytest.raises((FeedUnavailable, FeedRefused)):
            await markets_of(rest)

        assert len(rest.exclusions) == 0
        assert len(venue.calls) - calls <= fault_from + MOST_REFUSALS + 1
        venue.fault = None
        assert await markets_of(rest) == MARKETS


@pytest.mark.parametrize("until", range(1, 30))
async def test_an_outage_that_ends_in_the_middle_of_a_search_excludes_no_market(until):
    """The venue refuses the first calls like unknown markets, and then accepts all."""
    venue = Venue()
    venue.fault, venue.fault_until = (200, json.dumps(NOT_FOUND), []), until
    async with venue.serving() as rest:
        with contextlib.suppress(FeedUnavailable):
            await markets_of(rest)

        assert len(rest.exclusions) == 0


async def test_many_refused_markets_are_all_found():
    """More in a row than an outage would be given: a market that was accepted is the control."""
    venue = Venue()
    venue.unknown = set(MARKETS[100:200])
    async with venue.serving() as rest:
        assert set(await markets_of(rest)) == set(MARKETS) - venue.unknown
        assert len(rest.exclusions) == 100


@pytest.mark.parametrize(
    ("values", "wait_s"),
    [
        (["7"], 7.0), (["1e9"], 3_600.0), (["inf"], 3_600.0), (["nan"], 60.0), (["-5"], 0.0),
        (["soon"], 60.0), (["3", "9"], 9.0), (["Wed, 23 Sep 2026 03:19:34 GMT"], 60.0),
        (["Wed, 23 Sep 2099 03:19:34 GMT"], 3_600.0), (["Wed, 23 Sep 1999 03:19:34 GMT"], 0.0),
        ([], 60.0),
    ],
)  # fmt: skip
async def test_a_refusal_holds_every_caller_back_for_a_bounded_time(values, wait_s):
    venue = Venue()
    venue.fault = (429, "slow down", [("Retry-After", value) for value in values])
    async with venue.serving() as rest:
        with pytest.raises(FeedRefused) as refused:
            await markets_of(rest)

    assert (refused.value.retry_after_s, venue.permits.cooldowns_s) == (wait_s, [wait_s])
    assert f"waiting {wait_s:g} s" in str(refused.value)
    assert len(venue.calls) == 1


class FakeLimiter:
    """Gives the answers in turn; an exception is raised."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.reported: list[int] = []

    async def acquire(self, provider, *, job, sweep, calls=1):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def finished(self, ids):
        self.reported.extend(ids)


async def test_a_permit_is_waited_for():
    """Its call is reported, so that the next permit is not late."""
    limiter = FakeLimiter(NotBefore(datetime.now(UTC), "10/s"), Permit("", 1, ids=(7,)))

    async with VenuePermits(limiter, "bithumb", caller="stream bithumb").next_call():
        assert limiter.reported == []

    assert limiter.answers == []
    assert limiter.reported == [7]


async def test_a_call_without_an_answer_is_not_reported():
    """It may still arrive, so it counts for as long as it can."""
    limiter = FakeLimiter(Permit("", 1, ids=(7,)))

    with pytest.raises(TimeoutError):
        async with VenuePermits(limiter, "bithumb", caller="stream bithumb").next_call():
            raise TimeoutError

    assert limiter.reported == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (NotBefore(None, "no key"), FeedRefused),
        (NotBefore(datetime.max.replace(tzinfo=UTC), "cooldown"), FeedRefused),
        (DatabaseUnavailable("Postgres is away"), FeedUnavailable),
    ],
)
async def test_without_a_permit_no_call_is_made(answer, error):
    """The ledger is the only count of calls: if it is away, the call waits."""
    with pytest.raises(error, match="no permit for a REST call"):
        async with VenuePermits(FakeLimiter(answer), "bithumb", caller="x").next_call():
            raise AssertionError("a call without a permit")


async def test_calls_and_jobs_share_the_quota_of_the_ledger(postgres_dsn):
    """Bithumb allows ten calls a second; a cooldown holds back the calls of jobs, too."""
    venue = Venue()
    ledger = SharedLedger(postgres_dsn, {}, speed=1.0)
    venue.permits = VenuePermits(ledger, "bithumb", caller="stream bithumb")
    async with venue.serving() as rest:
        for _ in range(5):
            await markets_of(rest)
        counted = rows(
            postgres_dsn,
            "SELECT sum(calls), count(DISTINCT job) FROM quota_grants WHERE provider = 'bithumb'",
        )
        venue.fault = (429, "slow down", [("Retry-After", "600")])
        with pytest.raises(FeedRefused, match="the provider asked for 600, waiting 600 s"):
            await markets_of(rest)

    answer = await ledger.acquire("bithumb", job="bithumb_markets", sweep=False)
    await ledger.close()
    assert counted == [(25, 1)]
    gaps_s = [
        later - first for first, later in zip(venue.times_s, venue.times_s[10:], strict=False)
    ]
    assert min(gaps_s) >= 1.0
    assert isinstance(answer, NotBefore)
    assert "asked for 600" in answer.reason

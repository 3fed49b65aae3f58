"""CoinGecko's datasets, on recorded answers."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from ray_pipeline.batch.progress import pending
from ray_pipeline.batch.responses import ParsedAnswer, read
from ray_pipeline.jobs import (
    coingecko_coin_details,
    coingecko_derivatives,
    coingecko_global,
    coingecko_id_mapping,
    coingecko_tickers,
    coingecko_tickers_bithumb,
)
from ray_pipeline.jobs._bithumb_coins import COINS
from ray_pipeline.jobs.spec import JobSpec, Request, Run
from ray_pipeline.jobs.table import check_rows
from ray_pipeline.providers.refusals import Answer
from tests.support import PAYLOADS

FOLDER = PAYLOADS / "coingecko"
SLOT = datetime(2026, 9, 1, 6, tzinfo=UTC)
recorded = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="no recorded payloads beside this checkout"
)


def run_of(spec: JobSpec, **inputs: tuple[dict[str, object], ...]) -> Run:
    return Run(spec.name, SLOT, SLOT + timedelta(minutes=3), inputs=inputs)


def reading(spec: JobSpec, text: str, request: Request | None = None) -> ParsedAnswer:
    """Read an answer as a run would."""
    answer = Answer(200, {}, text, SLOT)
    found = read(spec.sources[0], answer, request or Request("", "/"), run_of(spec))
    assert isinstance(found, ParsedAnswer), found
    return found


def exact(text: str) -> object:
    return json.loads(text, parse_float=Decimal)


# Coins -------------------------------------------------------------------------------------------


@recorded
@pytest.mark.parametrize(
    "name", ["coins_markets_bitcoin_2021-05.json", "coins_markets_row_2025-06-24.json"]
)
def test_a_coin_is_stored_as_exactly_as_it_was_sent(name: str):
    """Prices keep every digit; the symbol is in capitals."""
    text = (FOLDER / name).read_text()
    [sent] = exact(text)

    [coin] = reading(coingecko_id_mapping.SPEC, text).rows

    assert (coin.coingecko_id, coin.symbol, coin.name) == ("bitcoin", "BTC", "Bitcoin")
    assert str(coin.current_price_usd) == str(sent["current_price"])
    assert coin.market_cap_usd == sent["market_cap"]
    assert coin.circulating_supply == sent["circulating_supply"]
    assert coin.ath_date == datetime.fromisoformat(sent["ath_date"])
    assert coin.last_updated == datetime.fromisoformat(sent["last_updated"])


def test_a_coin_without_a_price_is_a_coin_and_tiny_prices_and_huge_supplies_survive():
    """F-14: nothing is lost for a NULL, a price below 1e-8 or a supply above 1e18."""
    coins = [
        {"id": "new", "symbol": "averyveryverylongsymbol", "name": "New", "current_price": None},
        {"id": "dust", "symbol": "d", "name": "D", "current_price": 3e-12, "total_supply": 1e24},
        {"id": None, "symbol": "x", "name": "X"},
    ]

    found = reading(coingecko_id_mapping.SPEC, json.dumps(coins))

    new, dust = found.rows
    assert new.symbol == "AVERYVERYVERYLONGSYMBOL"
    assert new.current_price_usd is None
    assert dust.current_price_usd == Decimal("3e-12")
    assert dust.total_supply == Decimal("1e24")
    assert [bad.raw for bad in found.bad] == [coins[2]]


def test_pages_follow_while_they_are_full():
    """Twenty of them at most."""
    spec = coingecko_id_mapping.SPEC
    [first] = spec.sources[0].plan(run_of(spec))
    full = json.dumps([{"id": f"c{n}", "symbol": "c", "name": "C"} for n in range(250)])

    request, pages = first, [first.params["page"]]
    while (following := reading(spec, full, request).next) is not None:
        request = following
        pages.append(request.params["page"])

    assert pages == [str(n) for n in range(1, 21)]
    assert request.page == 19
    assert request.params["vs_currency"] == "usd"
    assert reading(spec, "[]", first).next is None


@recorded
def test_details_of_a_coin():
    """Every path of the catalogue that the recording has."""
    text = (FOLDER / "coins_bitcoin_2021-05.json").read_text()
    sent = exact(text)

    found = reading(coingecko_coin_details.SPEC, text)

    [coin] = found.rows
    market = sent["market_data"]
    assert not found.bad
    assert (coin.coingecko_id, coin.symbol) == ("bitcoin", "BTC")
    assert coin.genesis_date == date(2009, 1, 3)
    assert coin.homepage_url == sent["links"]["homepage"][0]
    assert coin.github_repos == sent["links"]["repos_url"]
    assert coin.categories == sent["categories"]
    assert coin.description_en == sent["description"]["en"].strip()[:5000]
    assert coin.current_price_krw == market["current_price"]["krw"]
    assert coin.ath_usd == market["ath"]["usd"]
    assert coin.ath_date == datetime.fromisoformat(market["ath_date"]["usd"])
    assert str(coin.price_change_percentage_30d) == str(market["price_change_percentage_30d"])
    assert coin.twitter_followers == sent["community_data"]["twitter_followers"]
    assert coin.stars == sent["developer_data"]["stars"]
    assert coin.community_score == sent["community_score"]
    assert coin.telegram_channel_identifier is None  # "" was sent


@recorded
def test_details_with_half_of_the_keys_are_a_row():
    """A later answer lacks whole sections; what is missing is NULL."""
    text = (FOLDER / "coins_bitcoin_2024-10-25_head.json").read_text()

    [coin] = reading(coingecko_coin_details.SPEC, text).rows

    assert coin.web_slug == "bitcoin"
    assert coin.current_price_usd == 67749
    assert coin.ath_change_percentage == Decimal("-8.08267")
    assert coin.market_cap_usd is None
    assert coin.market_cap_rank == 1
    assert "Layer 1 (L1)" in coin.categories


def test_details_are_a_sweep_of_at_most_150_coins_a_run():
    """The largest first."""
    spec = coingecko_coin_details.SPEC
    coins = tuple({"coingecko_id": f"coin-{n}"} for n in range(1000))

    asked = pending(spec, spec.sources[0].plan(run_of(spec, coins=coins)), {}, now=SLOT)

    assert len(asked) == 150
    assert asked[0].path == "/coins/coin-0"
    assert spec.refresh == timedelta(days=30)


# Derivatives and the whole market ----------------------------------------------------------------


@recorded
def test_every_contract_is_a_row_of_the_slots_batch():
    """With a key of its own each."""
    text = (FOLDER / "derivatives_2021-05.json").read_text()
    sent = exact(text)

    found = reading(coingecko_derivatives.SPEC, text)

    assert len(found.rows) == len(sent) == 430
    assert not found.bad
    table = coingecko_derivatives.SPEC.tables[0]
    assert len({table.key_of(row) for row in found.rows}) == 430
    for row, contract in zip(found.rows, sent, strict=True):
        assert row.batch_id == "20260901_060000"
        assert row.collected_at == SLOT
        assert row.price == Decimal(contract["price"].replace(",", ""))
        assert row.funding_rate == contract["funding_rate"]  # NULL stays NULL
        assert row.index_price == contract["index"]
        assert row.last_traded_at == datetime.fromtimestamp(contract["last_traded_at"], UTC)


def test_a_dated_future_has_its_expiry():
    """F-02: seconds become a moment in UTC."""
    contract = {
        "market": "Deribit", "symbol": "BTC-25JUN21", "index_id": "btc", "price": "44,000.5",
        "contract_type": "futures", "expired_at": 1624608000, "funding_rate": None,
    }  # fmt: skip

    [row] = reading(coingecko_derivatives.SPEC, json.dumps([contract])).rows

    assert row.expired_at == datetime(2021, 6, 25, 8, tzinfo=UTC)
    assert row.price == Decimal("44000.5")
    assert row.funding_rate is None
    assert row.index_id == "BTC"


def test_a_contract_without_a_symbol_costs_no_other():
    """It is set aside as it came."""
    good = {"market": "Bybit", "symbol": "BTCUSD", "index_id": "BTC", "price": "1"}

    found = reading(coingecko_derivatives.SPEC, json.dumps([good, {"market": "Bybit"}, good]))

    assert len(found.rows) == 2
    assert [bad.raw for bad in found.bad] == [{"market": "Bybit"}]


@recorded
def test_the_market_as_a_whole_is_one_row_of_the_slot():
    """A coin that is not listed has no dominance, rather than one of 0."""
    text = (FOLDER / "global_2021-05.json").read_text()
    sent = exact(text)["data"]

    [row] = reading(coingecko_global.SPEC, text).rows

    assert row.collected_at == SLOT
    assert row.coingecko_updated_at == datetime.fromtimestamp(sent["updated_at"], UTC)
    assert str(row.total_market_cap_usd) == "2142953338976.9612"
    assert str(row.btc_dominance) == "38.259132842486686"
    assert row.sol_dominance is None
    assert row.markets == 616
    assert row.total_volume_json == sent["total_volume"]


# Tickers -----------------------------------------------------------------------------------------

BITCOIN = {
    "coingecko_id": "bitcoin", "symbol": "BTC", "market_code": "KRW-BTC",
    "match_method": "HARDCODED_MAPPING", "market_cap_rank": 1,
}  # fmt: skip
TINY = {
    "coingecko_id": "tiny", "symbol": "TNY", "market_code": "KRW-TNY",
    "match_method": "HARDCODED_MAPPING", "market_cap_rank": None,
}  # fmt: skip


def test_the_majors_are_asked_for_their_korean_pairs_and_without_a_filter():
    """F-11: mapped or not; every other mapped coin once."""
    spec = coingecko_tickers_bithumb.SPEC

    asked = list(spec.sources[0].plan(run_of(spec, mapping=(BITCOIN, TINY))))

    assert len(pending(spec, asked, {}, now=SLOT)) == 8 + 7 + 2  # no item twice
    korean = [one for one in asked if "exchange_ids" in one.params]
    assert [one.params["exchange_ids"] for one in korean] == ["upbit,bithumb"] * 8
    assert {one.item for one in asked if "exchange_ids" not in one.params} >= {
        "bitcoin", "ethereum", "dogecoin", "tiny",
    }  # fmt: skip
    assert asked[-1].facts["market_code"] == "KRW-TNY"


@recorded
def test_every_pair_of_a_coin_is_a_row_with_a_key_of_its_own():
    """F-10: base and target are in the key."""
    spec = coingecko_tickers_bithumb.SPEC
    text = (FOLDER / "coins_bitcoin_tickers_2021-05.json").read_text()
    sent = exact(text)["tickers"]
    request = list(spec.sources[0].plan(run_of(spec, mapping=(BITCOIN,))))[-1]

    found = reading(spec, text, request)

    table = spec.tables[0]
    assert len(found.rows) == len(sent) == 100
    assert len({table.key_of(row) for row in found.rows}) == 100
    assert not list(check_rows(table, found.rows))
    for row, ticker in zip(found.rows, sent, strict=True):
        assert str(row.last_price) == str(ticker["last"])
        assert str(row.volume_24h) == str(ticker["volume"])
        assert row.converted_last_usd == ticker["converted_last"]["usd"]
        assert row.timestamp == datetime.fromisoformat(ticker["timestamp"])
        assert row.market_code == "KRW-BTC"
        assert row.market_cap_rank == 1
    methods = {row.exchange_id: row.match_method for row in found.rows}
    assert methods["upbit"] == "KOREAN_MAJOR_COLLECTION"
    assert methods["binance"] == "HARDCODED_MAPPING"


@recorded
def test_pages_of_tickers_follow_until_the_wanted_exchanges_are_there():
    """The recorded page has Upbit and Binance: one more is read for Bithumb, and then one more."""
    spec = coingecko_tickers_bithumb.SPEC
    text = (FOLDER / "coins_bitcoin_tickers_2021-05.json").read_text()
    first = list(spec.sources[0].plan(run_of(spec, mapping=(BITCOIN,))))[-1]

    second = reading(spec, text, first).next
    assert second is not None
    third = reading(spec, text, second).next

    assert second.params["page"] == "2"
    assert second.facts["seen"] == "binance upbit"
    assert third is not None
    assert reading(spec, text, third).next is None  # the bound
    body = exact(text)
    body["tickers"][5]["market"]["identifier"] = "bithumb"
    assert reading(spec, json.dumps(body, default=str), first).next is None


@recorded
def test_the_ten_majors_are_read_at_every_exchange():
    """S-14: the table has a writer; a batch is a slot."""
    spec = coingecko_tickers.SPEC
    text = (FOLDER / "coins_bitcoin_tickers_2021-05.json").read_text()
    ranks = ({"coingecko_id": "bitcoin", "market_cap_rank": 1},)
    asked = list(spec.sources[0].plan(run_of(spec, ranks=ranks)))

    found = reading(spec, text, asked[1])

    assert len(asked) == 20
    assert asked[0].params["exchange_ids"] == "upbit,bithumb,korbit,coinone,gopax"
    assert len(found.rows) == 100
    assert found.next is not None
    sent = exact(text)["tickers"]
    for row, ticker in zip(found.rows, sent, strict=True):
        assert row.batch_id == "20260901_060000"
        assert (row.base_symbol, row.target_symbol) == (ticker["base"], ticker["target"])
        assert str(row.converted_last_btc) == str(ticker["converted_last"]["btc"])
        assert row.is_korean_exchange == (ticker["market"]["identifier"] == "upbit")
        assert row.market_cap_rank == 1


def test_a_ticker_without_an_exchange_costs_no_other():
    """It is set aside."""
    spec = coingecko_tickers_bithumb.SPEC
    request = next(iter(spec.sources[0].plan(run_of(spec))))
    good = {"base": "BTC", "target": "KRW", "market": {"name": "Upbit", "identifier": "upbit"}}

    found = reading(spec, json.dumps({"name": "Bitcoin", "tickers": [{}, good]}), request)

    [row] = found.rows
    assert row.timestamp == SLOT  # nothing in the answer says when
    assert row.converted_volume_usd == 0
    assert len(found.bad) == 1


def test_a_month_of_coingeckos_jobs_fits_into_four_keys():
    """10,000 calls a month each."""
    a_month = {
        coingecko_id_mapping.SPEC.name: 31 * coingecko_id_mapping.PAGES,
        # All 1,000 once: after the first week most of a run's 150 are not due.
        coingecko_coin_details.SPEC.name: 1_000 + 31 * 34,
        coingecko_derivatives.SPEC.name: 31,
        coingecko_global.SPEC.name: 31 * 4,
        coingecko_tickers.SPEC.name: 31 * 10 * (1 + coingecko_tickers.PAGES),
        # Sixty of the coins have more than a page of tickers.
        coingecko_tickers_bithumb.SPEC.name: 31
        * 2
        * (8 + len(COINS) + 60 * (coingecko_tickers_bithumb.PAGES - 1)),
    }

    assert sum(a_month.values()) < 4 * 10_000

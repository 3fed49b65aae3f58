"""Bithumb's markets and which coins they are."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ray_pipeline.batch.responses import ParsedAnswer, collected, read
from ray_pipeline.jobs import bithumb_coingecko_mapping, bithumb_markets
from ray_pipeline.jobs._bithumb_coins import COINS
from ray_pipeline.jobs._listing import Listing
from ray_pipeline.jobs.spec import Request, Run
from ray_pipeline.jobs.table import check_rows
from ray_pipeline.transport.answer import Answer
from tests.support import PAYLOADS

FOLDER = PAYLOADS / "bithumb"
SLOT = datetime(2026, 9, 1, 6, tzinfo=UTC)
recorded = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="no recorded payloads beside this checkout"
)


def reading(text: str) -> ParsedAnswer:
    """Read an answer as a run would."""
    run = Run("bithumb_markets", SLOT, SLOT)
    source = bithumb_markets.SPEC.sources[0]
    found = read(source, Answer(200, {}, text, SLOT), Request("", "/"), run)
    assert isinstance(found, ParsedAnswer), found
    return found


@recorded
def test_every_market_is_a_row_and_all_of_them_are_listed():
    """Markets against BTC and USDT too."""
    text = (FOLDER / "v1_market_all_2025-08-26.json").read_text()
    sent = json.loads(text)

    *markets, listed = reading(text).rows

    assert len(markets) == len(sent) == 66
    for row, market in zip(markets, sent, strict=True):
        assert row.market_code == market["market"]
        assert row.korean_name == market["korean_name"]
        assert row.english_name == market["english_name"]
        assert row.market_warning is None  # not asked for when this was recorded
    assert listed == Listing("bithumb_markets", SLOT, sorted(one["market"] for one in sent))


def test_a_market_that_cannot_be_read_is_no_reason_to_remove_it():
    """Without a whole list nothing is pruned."""
    good = {"market": "KRW-BTC", "korean_name": "a", "english_name": "b", "market_warning": "NONE"}

    found = reading(json.dumps([good, {"market": "KRW-ETH"}]))

    [row] = found.rows
    assert row.market_warning == "NONE"
    assert [bad.raw for bad in found.bad] == [{"market": "KRW-ETH"}]


def test_an_empty_answer_is_a_failure():
    """F-23: it does not empty the table."""
    source = bithumb_markets.SPEC.sources[0]
    answer = Answer(200, {}, "[]", SLOT)

    result = collected(source, reading("[]"), Request("", "/"), answer=answer)

    assert result.state == "failed"
    assert result.rows == ()


# The coins ---------------------------------------------------------------------------------------


def test_there_are_385_pairs_with_distinct_ids():
    """S-26."""
    assert len(COINS) == 385
    assert len(set(COINS.values())) == 385
    assert COINS["BTC"] == "bitcoin"
    assert COINS["ZTX"] == "ztx"
    assert all(coin and coin == coin.strip().lower() for coin in COINS.values())


def market(code: str) -> dict[str, object]:
    return {"market_code": code, "korean_name": "이름", "english_name": "Name"}


def test_a_market_gets_the_coin_of_its_pair():
    """With what CoinGecko says of it; what is not known of a coin is not invented."""
    coin = {
        "coingecko_id": "bitcoin", "name": "Bitcoin", "market_cap_rank": 1,
        "market_cap_usd": 9, "current_price_usd": Decimal("67749.5"),
    }  # fmt: skip
    run = Run(
        "bithumb_coingecko_mapping",
        SLOT,
        SLOT,
        inputs={
            "markets": tuple(map(market, ("KRW-BTC", "KRW-ZTX", "KRW-NOPE"))),
            "coins": (coin,),
        },
    )

    btc, ztx, nope = bithumb_coingecko_mapping.derive(run)

    assert (btc.coingecko_id, btc.coingecko_name, btc.market_cap_rank) == ("bitcoin", "Bitcoin", 1)
    assert btc.current_price_usd == Decimal("67749.5")
    assert (btc.match_method, btc.match_score, btc.is_verified) == ("HARDCODED_MAPPING", 100, True)
    assert (ztx.coingecko_id, ztx.match_score, ztx.is_verified) == ("ztx", 50, False)
    assert (nope.coingecko_id, nope.match_method, nope.match_score) == (None, "NO_MATCH", 0)
    # A market without a coin is listed in a view; its score is not a mistake.
    (mapping,) = bithumb_coingecko_mapping.SPEC.tables
    assert list(check_rows(mapping, [btc, ztx, nope])) == []


def test_what_a_person_has_decided_is_left_alone():
    """F-24."""
    run = Run(
        "bithumb_coingecko_mapping",
        SLOT,
        SLOT,
        inputs={
            "markets": (market("KRW-BTC"), market("KRW-ETH")),
            "decided": ({"market_code": "KRW-BTC"},),
        },
    )

    [row] = bithumb_coingecko_mapping.derive(run)

    assert row.market_code == "KRW-ETH"

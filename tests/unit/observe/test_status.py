"""What the status page says about symbols that are not covered, and in which units."""

from dataclasses import replace

import pytest

from ray_pipeline.feeds.key_plan import KeyPlan
from ray_pipeline.observe.status import (
    Assignments,
    FeedRow,
    ShardRow,
    UncoveredSymbols,
    uncovered,
    with_rates,
)

ROW = FeedRow(
    feed="sp500",
    symbols_wanted=2,
    symbols_confirmed=2,
    shards_running=1,
    shards_known=1,
    stored=100,
    lag=0,
    last_record_age_s=0.5,
    gaps_24h=0,
    redis_state="writing",
    sampled_at_s=1000.0,
)
SHARD = ShardRow(
    feed="sp500",
    shard=0,
    epoch=1,
    holder="a",
    state="streaming",
    cause="",
    connected=True,
    stopped=False,
    wanted=2,
    confirmed=2,
    received=100,
    published=100,
    spooled=0,
    reconnects=0,
    last_data_age_s=0.5,
    heartbeat_age_s=0.4,
)


def plan(keys: int, *, shards: int = 2) -> KeyPlan:
    """The connections of a feed that grew by one shard, after another feed's connection."""
    connections = [("sp500", shard) for shard in range(1, shards + 1)]
    return KeyPlan(keys, (*connections, ("top_gainers", 0), ("sp500", shards + 1)))


WANTED = Assignments("sp500", {0: ("AAPL", "MSFT")})


def test_the_rate_is_what_was_stored_between_two_samples():
    (row,) = with_rates([ROW], [replace(ROW, stored=150, sampled_at_s=1002.0)])

    assert row.records_per_s == 25.0


def test_two_samples_of_one_moment_have_no_rate():
    assert with_rates([ROW], [ROW])[0].records_per_s is None


def test_a_feed_without_an_earlier_sample_has_no_rate():
    assert with_rates([], [ROW])[0].records_per_s is None


def test_symbols_of_a_connected_shard_are_covered():
    assert list(uncovered(WANTED, [SHARD], plan=plan(1))) == []


@pytest.mark.parametrize(
    ("shard", "why"),
    [
        (replace(SHARD, connected=False, cause="429 Too Many Requests"), "429 Too Many Requests"),
        (replace(SHARD, connected=False, state="connecting"), "connecting"),
        (replace(SHARD, heartbeat_age_s=90.0), "no sign of life for 90 s"),
        (replace(SHARD, stopped=True, cause="handed over"), "handed over"),
    ],
)
def test_symbols_of_a_shard_in_trouble_are_named_with_its_cause(shard, why):
    assert list(uncovered(WANTED, [shard], plan=plan(1))) == [
        UncoveredSymbols("sp500", f"shard 0: {why}", ("AAPL", "MSFT"))
    ]


def test_a_shard_past_the_keys_says_that_a_key_is_missing():
    wanted = Assignments("sp500", {3: ("TSLA",)})

    (row,) = uncovered(wanted, [], plan=plan(2))

    assert row.why == "shard 3: no API key: 2 set, shard 3 needs 4"


def test_a_shard_with_a_key_that_has_not_run_yet_says_so():
    """The last shard needs the last key, not another one."""
    (row,) = uncovered(Assignments("sp500", {2: ("TSLA",)}), [], plan=plan(2))

    assert row.why == "shard 2: no producer has run yet"


def test_symbols_for_which_no_connection_has_room_are_named():
    (row,) = uncovered(Assignments("sp500", {}, ("ZTS",)), [], plan=plan(11, shards=10))

    assert row.symbols == ("ZTS",)
    assert "10 API keys" in row.why

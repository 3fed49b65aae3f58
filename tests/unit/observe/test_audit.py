"""What the audit calls explained, and what it does not."""

from dataclasses import replace

import pytest

from ray_pipeline.observe.audit import Audit, EpochFacts, Facts, FeedFacts, Outage, audit

CLEAN = EpochFacts(
    shard=0,
    epoch=3,
    highest=10,
    seen=9,
    stored=7,
    parked=1,
    notices=1,
    lost=1,
    rows=7,
    identities=7,
)


def judge(epoch: EpochFacts, **feed: object) -> Audit:
    return audit(Facts((replace(FeedFacts("sp500", (epoch,)), **feed),)))


def test_stored_parked_noticed_and_lost_records_are_explained():
    verdict = judge(CLEAN, gaps=2, dead_letters=1)

    assert verdict.clean
    assert verdict.feeds[0].published == 9  # a notice is no data
    assert verdict.feeds[0].stored == 7
    assert verdict.feeds[0].unexplained == 0


def test_an_empty_system_is_clean():
    assert audit(Facts((FeedFacts("sp500"), FeedFacts("bithumb")))).clean


@pytest.mark.parametrize(
    ("epoch", "kind", "count"),
    [
        (replace(CLEAN, highest=12, missing=2, missing_ranges=((11, 12),)), "missing", 2),
        (replace(CLEAN, rows=9), "duplicates", 2),
        (replace(CLEAN, rows=6, identities=6), "rows", 1),
        (replace(CLEAN, rows=8, identities=8), "rows", 1),
        (replace(CLEAN, parked=0), "counters", 1),
        (replace(CLEAN, unrecorded=1), "gaps", 1),
    ],
)
def test_each_fault_is_named_with_its_place_its_size_and_a_fix(epoch, kind, count):
    verdict = judge(epoch)

    (problem,) = verdict.feeds[0].problems
    assert not verdict.clean
    assert (problem.kind, problem.count) == (kind, count)
    assert "shard 0, epoch 3" in problem.text
    assert problem.fix


def test_a_deleted_row_and_a_doubled_one_do_not_cancel():
    """The table has as many rows as were stored, and yet two things are wrong."""
    verdict = judge(replace(CLEAN, rows=7, identities=6))

    assert [problem.kind for problem in verdict.feeds[0].problems] == ["duplicates", "rows"]


def test_what_waits_in_kafka_is_told_from_what_is_gone():
    epoch = replace(CLEAN, highest=12, missing=2, missing_ranges=((11, 12),))

    assert "wait in Kafka" in judge(epoch, waiting=2).feeds[0].problems[0].text
    assert "Kafka holds no more" in judge(epoch).feeds[0].problems[0].text


def test_a_redis_that_is_behind_is_unexplained():
    verdict = judge(CLEAN, behind=tuple("ABCDEFG"))

    assert verdict.feeds[0].redis_behind == 7
    assert "A, B, C, D, E and 2 more" in verdict.feeds[0].problems[0].text


def test_a_store_that_cannot_be_asked_proves_nothing():
    verdict = audit(Facts((), (Outage("Redis", "cannot be asked", "start it"),)))

    assert not verdict.clean
    assert verdict.problems[0].text == "Redis: cannot be asked"


def test_the_json_form_keeps_its_names():
    """Programs read it: a new name may come, none may go."""
    feeds = judge(CLEAN).as_json()["feeds"]

    assert feeds == {
        "sp500": {
            "published": 9,
            "stored": 7,
            "duplicates": 0,
            "missing": 0,
            "gaps": 0,
            "dead_letters": 0,
            "redis_behind": 0,
            "unexplained": 0,
            "parked": 1,
            "lost": 1,
            "waiting": 0,
            "problems": (),
        }
    }

"""What `/ready` of the API and of the supervisor says about the data."""

from dataclasses import replace

import pytest

from ray_pipeline.observe.data_progress import data_progress
from ray_pipeline.observe.status import Status
from ray_pipeline.observe.topic_partitions import TopicRow
from tests.unit.observe.test_status import ROW

SHORTAGE = TopicRow("t", "sp500", 3, 1, [], 0, 1.0)
UNREAD = TopicRow("t", "sp500", 3, 6, [3, 4, 5], 682, 1.0)
SURPLUS = TopicRow("t", "sp500", 3, 6, [], 0, 1.0)
OLD = replace(ROW, feed="upbit", last_record_age_s=999.0)


def judge(*feeds, topics=()):
    return data_progress(Status(feeds, (), (), (), (), topics=topics), limit_s=60.0)


def test_one_feed_that_stores_is_enough():
    progress = judge(ROW, OLD)

    assert (progress.reasons, progress.newest_age_s) == ((), 0.5)


@pytest.mark.parametrize("topic", [SHORTAGE, UNREAD])
def test_records_that_nothing_reads_or_sends_are_a_reason_while_other_feeds_store(topic):
    assert judge(ROW, topics=(topic,)).reasons == (topic.trouble,)


def test_more_partitions_than_the_settings_name_are_a_notice():
    progress = judge(ROW, topics=(SURPLUS,))

    assert (progress.reasons, progress.notices) == ((), (SURPLUS.notice,))


def test_a_disabled_feed_proves_nothing():
    """Its newest record is from before it was disabled."""
    (reason,) = judge(replace(ROW, enabled=False), OLD).reasons

    assert "no feed stored a record" in reason


def test_with_every_feed_disabled_nothing_has_to_progress():
    """Only batch jobs run."""
    assert judge(replace(ROW, enabled=False), replace(OLD, enabled=False)).reasons == ()


def test_no_feed_at_all_is_no_progress():
    assert judge().reasons == ("no feed has ever stored a record",)

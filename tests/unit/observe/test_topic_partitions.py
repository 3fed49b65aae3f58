"""What is said about a topic whose partitions differ from the settings."""

import pytest

from ray_pipeline.observe.metrics import Sample, status_metrics
from ray_pipeline.observe.status import Status
from ray_pipeline.observe.topic_partitions import TopicRow


def topic(*, configured: int = 3, present: int = 3, unread=(), records: int = 0) -> TopicRow:
    return TopicRow("x-trades", "sp500", configured, present, list(unread), records, 1.0)


def test_a_topic_as_the_settings_name_it_needs_no_word():
    assert (topic().trouble, topic().notice) == ("", "")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (topic(present=1), ["1 of the 3 partitions", "--partitions 3", "SP500__PARTITIONS"]),
        (topic(present=0), ["x-trades does not exist in Kafka"]),
        (topic(unread=(1, 2), records=682), ["682 records", "without a consumer: 1, 2"]),
    ],
)
def test_records_that_wait_are_trouble_with_a_fix(row, words):
    assert all(word in row.trouble for word in words)
    assert row.notice == ""


def test_more_partitions_are_a_notice_with_the_setting_to_change():
    assert topic(present=6).trouble == ""
    assert topic(present=6).notice.endswith("set PIPELINE_FEEDS__SP500__PARTITIONS=6")


def test_partitions_without_a_consumer_and_without_records_are_no_trouble():
    """The pipeline is stopped, and everything was stored before."""
    assert topic(unread=(0, 1, 2)).trouble == ""


def test_the_metrics_show_both_numbers_of_partitions_and_the_unread_records():
    page = Status((), (), (), (), (), topics=(topic(present=6, unread=(5,), records=7),))

    assert list(status_metrics(page)) == [
        Sample("pipeline_topic_partitions", 3, {"feed": "sp500", "source": "settings"}),
        Sample("pipeline_topic_partitions", 6, {"feed": "sp500", "source": "broker"}),
        Sample("pipeline_unread_records", 7, {"feed": "sp500"}),
    ]

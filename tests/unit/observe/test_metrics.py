"""The samples of producers, consumers and the status page, and their definitions."""

from dataclasses import replace

import pytest

from ray_pipeline.observe.metrics import (
    METRICS,
    Sample,
    consumer_metrics,
    producer_metrics,
    status_metrics,
)
from ray_pipeline.observe.status import DeadLetterRow, Status
from tests.unit.observe.test_status import ROW

PRODUCER = {"feed": "sp500", "shard": 3, "published": 7, "spooled": None, "reconnects": 2}


def test_a_producer_has_three_metrics_once_it_runs():
    """A missing number counts as zero; a producer that starts has none."""
    samples = {sample.metric: sample.value for sample in producer_metrics(PRODUCER)}

    assert samples == {
        "pipeline_records_published": 7.0,
        "pipeline_records_spooled": 0.0,
        "pipeline_reconnects": 2.0,
    }
    assert list(producer_metrics({"state": "starting"})) == []


def test_a_consumer_adds_up_the_lag_of_its_partitions():
    """Each latency is an observation of its own."""
    samples = list(
        consumer_metrics(
            "sp500", "0", stored=9, lag={0: 2, 4: 3}, latencies_ms=[1.5, 2.5],
            situation=("storing", ""),
        )
    )  # fmt: skip

    assert [(sample.metric, sample.value) for sample in samples] == [
        ("pipeline_consumer_state", 1.0),
        ("pipeline_records_stored", 9),
        ("pipeline_lag_records", 5),
        ("pipeline_store_latency_ms", 1.5),
        ("pipeline_store_latency_ms", 2.5),
    ]


@pytest.mark.parametrize(
    ("cause", "sqlstate"),
    [
        ("Postgres refuses a statement: cannot execute UPDATE (SQLSTATE 25006)\n  fix: x", "25006"),
        ("Postgres cannot be reached: connection refused", ""),
    ],
)
def test_a_waiting_consumer_is_labelled_with_its_state_and_the_code(cause, sqlstate):
    """An alert can tell a read-only database from one that is away."""
    situation = ("waiting for postgres", cause)
    sample, *_ = consumer_metrics(
        "sp500", "0", stored=9, lag={}, latencies_ms=[], situation=situation
    )

    assert (sample.tags["state"], sample.tags["sqlstate"]) == ("waiting for postgres", sqlstate)


def test_a_feed_without_a_record_has_no_age():
    """An age of zero would say that it is fresh."""
    page = Status((ROW, replace(ROW, feed="bithumb", last_record_age_s=None)), (), (), (), ())
    ages = [sample for sample in status_metrics(page) if sample.metric == "pipeline_feed_age_s"]

    assert ages == [Sample("pipeline_feed_age_s", 0.5, {"feed": "sp500"})]


def test_every_sample_has_exactly_the_labels_of_its_metric():
    """Ray refuses any other label."""
    row = replace(ROW, redis_bytes=1, redis_budget_bytes=2, redis_retention_s=3.0)
    page = Status((row,), (), (), (DeadLetterRow("sp500", "not_json", 4, 1.0),), ())
    samples = [
        *producer_metrics(PRODUCER),
        *consumer_metrics(
            "sp500", "0", stored=1, lag={}, latencies_ms=[1.0], situation=("storing", "")
        ),
        *status_metrics(page),
    ]

    assert len(samples) == 14
    for sample in samples:
        assert set(sample.tags) == set(METRICS[sample.metric].tags)

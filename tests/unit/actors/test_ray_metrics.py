"""What reaches Ray's metrics, without Ray's port: the calls that are made."""

import pytest

from ray_pipeline.actors import ray_metrics
from ray_pipeline.actors.ray_metrics import Meter
from ray_pipeline.observe.metrics import METRICS, Sample, producer_metrics


@pytest.fixture
def shown(monkeypatch):
    """The values that each metric was told, by its labels."""
    told = {}

    def metric(name):
        def tell(value, tags):
            key = tuple(sorted(tags.items()))
            told.setdefault(name, {}).setdefault(key, []).append(value)

        return tell

    monkeypatch.setattr(ray_metrics, "_metric", metric)
    return told


def values(shown, name):
    return {
        dict(key).get("feed", ""): found for key, found in shown[name].items()
    }  # fmt: skip


def stored(total, feed="sp500"):
    return Sample("pipeline_records_stored", total, {"feed": feed, "shard": "0"})


def test_a_counter_grows_by_the_difference(shown):
    meter = Meter(generation=2)
    for total in (5, 5, 12):
        meter.show([stored(total)])
    assert values(shown, "pipeline_records_stored") == {"sp500": [5, 7]}
    (key,) = shown["pipeline_records_stored"]
    assert dict(key)["generation"] == "2"


def test_a_counter_that_began_anew_counts_from_zero(shown):
    meter = Meter(generation=1)
    for total in (100, 4):
        meter.show([stored(total)])
    assert values(shown, "pipeline_records_stored") == {"sp500": [100, 4]}


def test_totals_of_before_are_not_counted_but_new_ones_are(shown):
    meter = Meter(generation=1)
    gaps = [Sample("pipeline_gaps", 40, {"feed": "sp500"})]
    meter.begin(gaps)
    meter.show(gaps)
    meter.show([*gaps, Sample("pipeline_gaps", 1, {"feed": "bithumb"})])
    assert values(shown, "pipeline_gaps") == {"bithumb": [1]}


def test_a_gauge_that_is_gone_becomes_zero_and_one_that_was_not_read_stays(shown):
    meter = Meter(generation=1)
    age = "pipeline_feed_age_s"
    meter.show([Sample(age, 3, {"feed": "sp500"}), Sample(age, 4, {"feed": "bithumb"})])
    meter.show([Sample(age, 5, {"feed": "sp500"})])
    meter.show([])
    assert values(shown, age) == {"sp500": [3, 5], "bithumb": [4, 0.0]}


def test_a_producer_that_starts_has_no_figures_and_no_figure_has_an_unknown_metric():
    assert list(producer_metrics({"state": "starting"})) == []
    status = {"feed": "sp500", "shard": 3, "published": 7, "spooled": 0, "reconnects": 1}
    figures = list(producer_metrics(status))
    assert {one.metric for one in figures} <= METRICS.keys()
    assert figures[0] == Sample(
        "pipeline_records_published", 7, {"feed": "sp500", "shard": "3"}
    )  # fmt: skip
    for one in figures:
        assert set(one.tags) == set(METRICS[one.metric].tags)

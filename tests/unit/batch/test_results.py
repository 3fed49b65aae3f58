"""Counts of several transactions add up."""

from ray_pipeline.batch.results import RowCounts


def test_every_count_is_added():
    counts = RowCounts(1, 2, 3, 4)

    counts.add(RowCounts(10, 20, 30, 40))

    assert counts == RowCounts(11, 22, 33, 44)

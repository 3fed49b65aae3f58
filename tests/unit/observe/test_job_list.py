"""The batch datasets as rows."""

from datetime import UTC, datetime

from ray_pipeline.catalog import all_jobs, job
from ray_pipeline.observe.job_list import job_rows

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def test_every_job_has_a_row_with_its_next_slot_and_newest_run():
    """A job that never ran has no newest run."""
    last = {"company_overview": {"state": "succeeded"}}
    rows = {row["name"]: row for row in job_rows(last, now=NOW)}

    assert list(rows) == [spec.name for spec in all_jobs()]
    overview, spec = rows["company_overview"], job("company_overview")
    assert overview["last"] == {"state": "succeeded"}
    assert overview["next"] == spec.schedule.next(NOW)
    assert overview["tables"] == [table.name for table in spec.tables]
    assert rows["cpi"]["last"] is None
    assert rows["cpi"]["sources"] == [source.provider.name for source in job("cpi").sources]


def test_a_job_on_request_has_no_schedule():
    """Nor a next slot."""
    manual = [spec.name for spec in all_jobs() if spec.manual]
    rows = {row["name"]: row for row in job_rows({}, now=NOW)}

    assert all(rows[name]["schedule"] is rows[name]["next"] is None for name in manual)
    assert all(
        row["schedule"] and row["next"] > NOW for name, row in rows.items() if name not in manual
    )

"""The batch datasets as rows."""

from datetime import UTC, datetime

from ray_pipeline.catalog import all_jobs, job
from ray_pipeline.jobs.spec import Empty
from ray_pipeline.observe.job_list import job_rows, meaning_of_empty

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


def test_a_table_with_two_row_types_is_named_once():
    rows = {row["name"]: row for row in job_rows({}, now=NOW)}

    assert rows["earnings_calendar"]["tables"] == ["earnings_calendar"]


def test_the_meaning_of_an_empty_answer_is_a_rule_in_words():
    meanings = [meaning_of_empty(source) for spec in all_jobs() for source in spec.sources]

    assert all(meanings)
    assert not [rule for rule in meanings if any(meaning.name in rule for meaning in Empty)]
    assert any(rule.startswith("failure for the first page of a major") for rule in meanings)

"""The fifty companies have the names of the table of members, never a symbol in their place."""

from datetime import UTC, datetime

from ray_pipeline.jobs.sp500_top50 import Company, derive
from ray_pipeline.jobs.spec import Run

NOW = datetime(2026, 9, 1, 6, tzinfo=UTC)
APPLE = {
    "symbol": "AAPL",
    "company_name": "Apple Inc.",
    "gics_sector": None,
    "gics_sub_industry": None,
}


def companies(*rows: dict) -> list[Company]:
    return list(derive(Run("sp500_top50", NOW, NOW, inputs={"companies": rows})))


def test_without_members_there_is_no_row():
    """The run then fails, and names the table that it waits for."""
    assert companies() == []


def test_a_company_that_is_not_in_the_table_is_left_out():
    assert companies(APPLE) == [Company("AAPL", "Apple Inc.", None, None)]

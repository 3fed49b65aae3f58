"""Tables of the command line, as text."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from ray_pipeline.cli.tables import (
    render_audit,
    render_dead_letters,
    render_job_summary,
    render_status,
    render_table,
    table,
)
from ray_pipeline.observe.audit import Audit, FeedAudit
from ray_pipeline.observe.status import Status, UncoveredSymbols
from tests.unit.observe.test_status import ROW, SHARD


def text(page) -> str:
    out = io.StringIO()
    Console(file=out, width=200, no_color=True).print(page)
    return out.getvalue()


def test_a_column_that_begins_with_an_arrow_is_aligned_to_the_right():
    """The arrow itself is not shown."""
    lines = text(table("T", "name", ">n", rows=[("a", "1"), ("b", "1,000")])).splitlines()

    assert lines[1].split() == ["name", "n"]
    assert lines[2].rstrip() == "a         1"


def test_a_feed_without_a_rate_shows_a_dash():
    """One sample has no rate."""
    shown = text(render_table([ROW, replace(ROW, feed="bithumb", records_per_s=1234.56)]))

    assert ["sp500", "2/2", "1/1", "-", "100", "0", "0.5", "s", "0", "writing"] in [
        line.split() for line in shown.splitlines()
    ]
    assert "1,234.6" in shown


def test_the_status_page_leaves_out_empty_tables():
    """Symbols that no producer collects are named, with the reason."""
    page = Status((ROW,), (SHARD,), (), (), ())

    assert "Producers" in text(render_status(page))
    for title in ("Not covered", "Consumers", "Open dead letters"):
        assert title not in text(render_status(page))

    uncovered = (UncoveredSymbols("sp500", "shard 0: no API key", ("AAPL", "MSFT")),)
    assert "shard 0: no API key  AAPL, MSFT" in text(
        render_status(replace(page, uncovered=uncovered))
    )


def test_the_summary_counts_jobs_by_state_and_names_the_failed():
    """A job that never ran is counted too."""
    last = {
        "a": {"state": "succeeded"},
        "b": {"state": "running", "items_done": 3, "items": 9},
        "c": {"state": "refused"},
    }

    assert render_job_summary(["a", "b", "c", "d"], last).plain == (
        "Jobs: 4  1 not run yet  1 refused  1 running  1 succeeded\n"
        "running: b 3/9\n"
        "see `ray-pipeline why`: c"
    )


def test_dead_letters_have_one_name():
    """Also where the name of a column in the database has an underscore."""
    assert render_dead_letters([]) == "no dead letters"
    assert "dead letters" in text(render_audit(Audit((), ())))
    assert "dead dead" not in text(render_audit(Audit((), ())))


@pytest.mark.parametrize(("width", "zeros"), [(80, 0), (100, 0), (149, 7), (200, 7)], ids=str)
def test_a_narrow_terminal_shows_every_feed_and_every_count(width, zeros):
    """Columns of zeros go first: one that vanishes hides which feed a row is about."""
    feed = FeedAudit(
        "top_gainers", published=31_706_123, stored=31_706_122, duplicates=0, missing=0, gaps=0,
        dead_letters=0, redis_behind=0, unexplained=46, parked=0, lost=0, waiting=0, problems=(),
    )  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=width).print(render_audit(Audit((feed,), ())))

    (line,) = [line for line in out.getvalue().splitlines() if "top_gainers" in line]
    assert line.split() == ["top_gainers", "31,706,123", "31,706,122", *"0" * zeros, "46"]
    assert ("too narrow" in out.getvalue()) is (zeros == 0)


def test_a_narrow_terminal_shows_the_counts_that_are_not_zero():
    """They are what the reader looks for."""
    feed = FeedAudit(
        "sp500", published=31_706, stored=31_704, duplicates=3, missing=1, gaps=1, dead_letters=0,
        redis_behind=0, unexplained=0, parked=1, lost=0, waiting=0, problems=(),
    )  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=80).print(render_audit(Audit((feed,), ())))

    (line,) = [line for line in out.getvalue().splitlines() if "31,706" in line]
    assert line.split() == ["sp500", "31,706", "31,704", "1", "3", "1", "1", "0"]

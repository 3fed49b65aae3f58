"""`ray-pipeline new job`: write the files of a small working dataset."""

import keyword
import re
from pathlib import Path

from ray_pipeline.errors import PipelineError

NAME = re.compile(r"[a-z][a-z0-9_]{2,50}")

MODULE = '''"""{title}: describe it in one line."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import WHOLE, Empty, JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Table
from ray_pipeline.providers.fred import PROVIDER as FRED
from ray_pipeline.schedules.cron import Cron


@table_row
class {row}:
    """The columns: each is read from the key of its name, or from the key that `column` names."""

    date: date
    value: Decimal | None = column("value")  # required=True if there is no row without it
    source: str = "fred"


def plan(_run: Run) -> Iterator[Request]:
    """Make one request for each item."""
    yield Request(
        item="GDP", path="/series/observations", params={{"series_id": "GDP", "file_type": "json"}}
    )


def parse(body: Json, _request: Request, _run: Run) -> Iterator[object]:
    """
    Read an answer.

    {{"observations": [{{"date": "2025-06-01", "value": "3.89"}}, ...]}}
    """
    yield from each(body["observations"], lambda point: read_row({row}, point))


SPEC = JobSpec(
    name="{name}",
    title="{title}",
    # An answer without rows, or much smaller than the last one, is a failure.
    sources=(Source(FRED, plan, parse, empty=Empty.FAILURE, least=WHOLE),),
    tables=(Table("{name}", {row}, key=("date",), touched="updated_at"),),
    schedule=Cron("0 6 * * *"),
)
'''
MIGRATION = """-- {title}.
CREATE TABLE {name} (
    date       DATE PRIMARY KEY,
    value      NUMERIC,
    source     TEXT,
    updated_at TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);
"""
TEST = '''"""The dataset {name}."""

from datetime import UTC, datetime
from decimal import Decimal

from ray_pipeline.jobs.{name} import SPEC
from ray_pipeline.jobs.spec import Request, Run

SLOT = datetime(2026, 1, 5, 6, tzinfo=UTC)


def test_an_answer_becomes_rows():
    """A point without a value keeps its row, with NULL."""
    body = {{
        "observations": [
            {{"date": "2025-06-01", "value": "3.89"}},
            {{"date": "2025-07-01", "value": "."}},
        ]
    }}
    request = Request("GDP", "/series/observations")

    rows = list(SPEC.sources[0].parse(body, request, Run(SPEC.name, SLOT, SLOT)))

    assert [row.value for row in rows] == [Decimal("3.89"), None]
'''


def write(name: str, into: Path) -> list[Path]:
    """
    Write the files of a new dataset, and return their paths.

    Raises:
        PipelineError: If the name is invalid, or one of the files exists.
    """
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise PipelineError(
            f"{name!r} cannot be a job's name", fix="lower case letters, digits and underscores"
        )
    package, migrations = into / "ray_pipeline" / "jobs", into / "sql" / "migrations"
    if not package.is_dir() or not migrations.is_dir():
        raise PipelineError(
            f"{into.resolve()} is not the project's folder", fix="go there, or name it with --into"
        )
    numbers = [int(path.name[:4]) for path in migrations.glob("[0-9][0-9][0-9][0-9]_*.sql")]
    words = {
        "name": name,
        "title": name.replace("_", " ").capitalize(),
        "row": "".join(part.capitalize() for part in name.split("_")),
    }
    files = {
        package / f"{name}.py": MODULE,
        migrations / f"{max(numbers, default=0) + 1:04d}_{name}.sql": MIGRATION,
        into / "tests" / "unit" / "jobs" / f"test_{name}.py": TEST,
    }
    for path in files:
        if path.exists():
            raise PipelineError(f"{path} exists already", fix="choose another name")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format_map(words))
    return list(files)

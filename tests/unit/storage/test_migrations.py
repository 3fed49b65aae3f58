"""The order of migrations, and what is refused."""

from datetime import UTC, datetime

import pytest

from ray_pipeline.errors import MigrationError
from ray_pipeline.storage.migrations import (
    Applied,
    Migration,
    months,
    pending,
    read_migrations,
    sql_dir,
)

FIRST = Migration(1, "0001_first", b"SELECT 1;")
SECOND = Migration(2, "0002_second", b"SELECT 2;")


def applied(*migrations: Migration) -> dict[int, Applied]:
    return {m.version: Applied(m.name, m.checksum) for m in migrations}


def test_an_empty_database_gets_every_file_in_order():
    assert list(pending([FIRST, SECOND], {})) == [FIRST, SECOND]


def test_what_is_applied_is_not_applied_again():
    assert list(pending([FIRST, SECOND], applied(FIRST))) == [SECOND]


def test_an_edited_file_is_refused():
    edited = Migration(1, "0001_first", b"SELECT 'other';")

    with pytest.raises(MigrationError, match="0001_first was edited"):
        list(pending([edited], applied(FIRST)))


def test_a_database_newer_than_the_code_is_refused():
    with pytest.raises(MigrationError, match="0002_second, which this release does not know"):
        list(pending([FIRST], applied(FIRST, SECOND)))


def test_line_endings_are_no_edit():
    unix, windows = Migration(1, "a", b"SELECT\n1;\n"), Migration(1, "a", b"SELECT\r\n1;\r\n")

    assert unix.checksum == windows.checksum


def test_two_files_of_one_number_are_refused(tmp_path):
    for name in ("0001_one.sql", "0001_two.sql"):
        (tmp_path / name).write_text("SELECT 1;")

    with pytest.raises(MigrationError, match="share a number"):
        read_migrations(tmp_path)


def test_an_empty_folder_is_an_error_and_not_an_empty_schema(tmp_path):
    with pytest.raises(MigrationError, match="no migrations"):
        read_migrations(tmp_path)


def test_the_files_of_this_release_are_found_and_numbered_upwards_from_one():
    versions = [migration.version for migration in read_migrations(sql_dir() / "migrations")]

    assert versions[0] == 1
    assert versions == sorted(set(versions))


def test_months_cross_the_year():
    found = months(datetime(2026, 11, 30, 23, 59, tzinfo=UTC), ahead=2)

    assert [month.isoformat()[:7] for month in found] == ["2026-11", "2026-12", "2027-01"]

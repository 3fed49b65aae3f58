"""Only errors that are proven to be about a row count as bad data."""

import psycopg
import pytest
from psycopg import errors

from ray_pipeline.errors import Disposition
from ray_pipeline.storage.postgres.database_errors import disposition, unavailable

PARK, RETRY, GIVE_UP = Disposition.PARK, Disposition.RETRY, Disposition.GIVE_UP


def test_only_classes_22_and_23_are_about_a_row():
    """An error of any other class must never park a record by its code alone."""
    codes = {error.sqlstate for error in errors._sqlcodes.values()}
    assert len(codes) > 200
    # A missing partition, and a used-up sequence of ids.
    of_content = {code for code in codes if code[:2] in {"22", "23"}} - {"23514", "2200H"}

    parked = {code for code in codes if disposition(errors.lookup(code)("refused")) is PARK}

    assert parked == of_content


@pytest.mark.parametrize("code", ["08006", "25006", "40001", "40P01", "53100", "55P03", "57014",
                                  "57P01", "58030", "XX001", "XX002"])  # fmt: skip
def test_an_outage_is_never_examined_row_by_row(code):
    assert disposition(errors.lookup(code)("refused")) is RETRY


@pytest.mark.parametrize("code", ["42P01", "42703", "42501", "54000", "P0001", "XX000", "0A000"])
def test_a_code_that_may_be_about_a_row_or_the_table_is_neither(code):
    """Isolation decides."""
    assert disposition(errors.lookup(code)("refused")) is GIVE_UP


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.OperationalError("the connection is lost"), RETRY),
        (psycopg.InterfaceError("the connection is closed"), RETRY),
        (psycopg.DataError("integer out of range"), PARK),
        (psycopg.ProgrammingError("cannot adapt type"), GIVE_UP),
        (psycopg.Error("unknown"), GIVE_UP),
    ],
)
def test_errors_of_the_client_library_have_no_code(error, expected):
    assert disposition(error) is expected


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        ("25006", "default_transaction_read_only"),
        ("42P01", "ray-pipeline migrate"),
        ("42703", "ray-pipeline migrate"),
        ("42501", "rights"),
        ("53100", "disk space"),
        ("53400", "resource"),
        ("P0001", "trigger"),
        ("F0000", "doctor"),
    ],
)
def test_every_error_has_a_cause_and_a_fix(code, fix):
    error = unavailable(errors.lookup(code)("why\nDETAIL: data of a row"))

    assert f"why (SQLSTATE {code})" in str(error)
    assert "DETAIL" not in str(error)
    assert fix in error.fix

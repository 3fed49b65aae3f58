"""docs/reliability.md names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (F\d+) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
TESTS = sorted(set(re.findall(r"`(tests/\S+\.py)::(\w+)`", PAGE)))


def names_in(path: Path) -> set[str]:
    """Return the names that a module defines at its top."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def test_every_fault_has_a_row_with_a_test():
    """F1 to F39, in order."""
    assert [identifier for identifier, _, _ in ROWS] == [f"F{n}" for n in range(1, 40)]
    assert all("`tests/" in tests for _, _, tests in ROWS)


@pytest.mark.parametrize(("path", "name"), TESTS)
def test_a_test_of_the_table_exists(path, name):
    """In the file that the table names, under its name."""
    assert name in names_in(ROOT / path)

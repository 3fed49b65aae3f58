"""A venue is one module: no other module names a venue, a feed, or what belongs to it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ray_pipeline
from ray_pipeline.feeds.feed_registry import FEEDS

PACKAGE = Path(ray_pipeline.__file__).parent
# Modules of venues, providers and datasets, and the servers that stand in for them.
VENUE_FOLDERS = frozenset({"feeds", "providers", "jobs", "simulators"})
ALLOWED = {
    # Examples in the documentation of the API. They change no behaviour.
    "api/examples.py",
    "api/feed_routes.py",
    "api/parameters.py",
    # The number of keys per provider of batch data, for the plan of quotas. It concerns no feed.
    "batch/timetable.py",
    # The description of the setting PIPELINE_API_KEYS shows a provider as an example.
    "settings/settings_value.py",
}
NAMES = sorted(
    {name for feed in FEEDS for name in (feed.name, feed.protocol.venue, feed.table, feed.topic)}
)
# A name counts at the start of a word, so that `BithumbRest` is found and `get_foo` is not `etf`.
PATTERN = re.compile(rf"(?<![a-z0-9])(?:{'|'.join(map(re.escape, NAMES))})")


def words(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each identifier and each string that is not a docstring."""
    docstrings = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if node not in docstrings:
                yield node.lineno, text
            case ast.Name(id=text) | ast.Attribute(attr=text) | ast.arg(arg=text):
                yield node.lineno, text
            case ast.ImportFrom(module=str(text)) | ast.keyword(arg=str(text)):
                yield node.lineno, text
            case ast.FunctionDef(name=text) | ast.AsyncFunctionDef(name=text):
                yield node.lineno, text
            case ast.ClassDef(name=text) | ast.alias(name=text):
                yield node.lineno, text


def mentions(source: str) -> list[str]:
    """Return the lines of a module that name a venue."""
    return [
        f"{line}: {text.strip()[:60]}"
        for line, text in words(ast.parse(source))
        if PATTERN.search(text.lower())
    ]


@pytest.mark.parametrize(
    "module",
    [
        path.relative_to(PACKAGE).as_posix()
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] not in VENUE_FOLDERS
    ],
)
def test_no_module_outside_the_venues_names_one(module):
    """Otherwise a new venue would need a change there."""
    found = mentions((PACKAGE / module).read_text())

    assert module in ALLOWED or found == []


def test_the_allow_list_holds_only_modules_that_need_it():
    assert all(mentions((PACKAGE / module).read_text()) for module in ALLOWED)


@pytest.mark.parametrize(
    "source",
    ["TABLE = 'bithumb_ticker'", "class BithumbRest: ...", "if name == 'sp500': ...",
     "from ray_pipeline.feeds.finnhub import url", "f(top_gainers=1)"],
)  # fmt: skip
def test_a_venue_is_found_in_every_form(source):
    assert mentions(source)


def test_a_docstring_may_give_an_example():
    assert mentions('def f():\n    """As `sp500-01`."""\n') == []

"""The package uses the words of docs/glossary.md, in names and in texts."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()
MODULES = sorted((ROOT / "ray_pipeline").rglob("*.py"))
WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")


@dataclass(frozen=True)
class Banned:
    """What the glossary rules out: parts of names, phrases of texts, and whole names."""

    name_parts: frozenset[str]
    terms: tuple[str, ...]  # the terms themselves are allowed, whatever words they consist of
    phrases: re.Pattern[str]
    whole_names: frozenset[str]


def read_glossary(text: str) -> Banned:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|") and not line.startswith("|---")
    ]
    terms = [row for row in rows if row[0] != "term"]
    phrases = _entries(row[3] for row in terms)
    return Banned(
        frozenset(_entries(row[2] for row in terms)),
        tuple(sorted(_entries(row[0] for row in terms))),
        re.compile(r"\b(" + "|".join(map(re.escape, sorted(phrases))) + r")\b", re.IGNORECASE),
        frozenset(re.findall(r"`(\w+)`", text.rpartition("## Words without meaning")[2])),
    )


def _entries(cells: Iterator[str]) -> set[str]:
    return {entry.strip() for cell in cells for entry in cell.split(",")} - {"-"}


def names_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield every name that the module binds: variables, arguments, functions, classes."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.ClassDef(name=name):
                yield node.lineno, name


def texts_in(source: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield string constants, docstrings among them, and comments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def words_of(name: str, terms: tuple[str, ...]) -> set[str]:
    """Return the words of a name, in lower case, without the terms that it contains."""
    words = " ".join(word.lower() for word in WORDS.findall(name))
    for term in terms:
        if " " in term:
            words = re.sub(rf"\b{re.escape(term)}s?\b", "", words)
    return set(words.split())


def field_lines(tree: ast.AST) -> set[int]:
    """Return the lines of class fields: columns and JSON fix their names, as `wanted`."""
    return {
        statement.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
    }


def violations(source: str, banned: Banned) -> list[str]:
    tree = ast.parse(source)
    fields = field_lines(tree)
    return [
        f"{line}: name {name}"
        for line, name in names_in(tree)
        if (name in banned.whole_names and line not in fields)
        or banned.name_parts & words_of(name, banned.terms)
    ] + [
        f"{line}: {match.group()!r} in {' '.join(text.split())[:80]!r}"
        for line, text in texts_in(source, tree)
        for match in [banned.phrases.search(text)]
        if match
    ]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_uses_the_words_of_the_glossary(module: Path) -> None:
    assert violations(module.read_text(), read_glossary(GLOSSARY)) == []


@pytest.mark.parametrize(
    "source",
    [
        "found = 1",
        "def f(one): ...",
        "class GrantedLeaves: ...",
        "async def count_holes(): ...",
        '"""Start the process anew."""',
        "x = 'the deaf actor'  \n",
        "x = 1  # started anew",
    ],
)
def test_a_banned_word_is_noticed(source: str) -> None:
    """In variables, arguments, parts of names, docstrings, constants and comments."""
    assert violations(source, read_glossary(GLOSSARY))


@pytest.mark.parametrize("source", ["dead_letters = 1", "class DeadLetterRow: ...", "x = 'a gap'"])
def test_a_term_may_contain_a_banned_word(source: str) -> None:
    """A dead letter is a term; a letter is not."""
    assert violations(source, read_glossary(GLOSSARY)) == []

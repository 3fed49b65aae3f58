"""Say in plain words why an answer, or a part of it, could not be read or stored."""

import builtins
import csv
import decimal
import json

from ray_pipeline import errors
from ray_pipeline.jobs.spec import Unparsed

# The first class that fits an exception names it, so a subclass precedes its base class.
WORDS: tuple[tuple[type[Exception], str], ...] = (
    (RecursionError, "it is nested too deeply"),
    (MemoryError, "it is too large for the memory"),
    (json.JSONDecodeError, "it is not JSON, or cut off"),
    (UnicodeError, "its text is not valid Unicode"),
    (csv.Error, "it is not CSV"),
    (LookupError, "a field is missing"),
    (OverflowError, "a number is too large"),
    (ArithmeticError, "a value is not a usable number"),
    (AttributeError, "a value has an unexpected type"),
    (TypeError, "a value has an unexpected type"),
    (ValueError, "a value has an unexpected form"),
)
UNKNOWN = "it has an unexpected form"
EXCERPT_CHARACTERS = 1_000
DETAIL_CHARACTERS = 300


def detail(error: Exception) -> str:
    """Return the type and the first line of an exception; JSON and Unicode errors say where."""
    line = (str(error).strip().splitlines() or [""])[0][:DETAIL_CHARACTERS]
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def plain_words(error: Exception) -> str:
    """Return what is wrong with an answer, with the name of the exception."""
    return f"{_words(type(error))} ({detail(error)})"


def part_problem(part: Unparsed) -> str:
    """Return what is wrong with a part of an answer; its reason may be the name of an exception."""
    modules = (builtins, decimal, errors)
    kind = next(filter(None, (getattr(module, part.reason, None) for module in modules)), None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        return f"{_words(kind)} ({part.reason}: {part.detail})"
    return part.detail or part.reason


def _words(kind: type[Exception]) -> str:
    return next((words for base, words in WORDS if issubclass(kind, base)), UNKNOWN)


def printable(text: str) -> str:
    """Return text that can be printed: a provider's text may have half a surrogate pair."""
    return text.encode("utf-8", "replace").decode()


def excerpt(text: str, error: Exception | None = None) -> str:
    """Return the part of an answer around the position of an error, else its beginning."""
    position = error.pos if isinstance(error, json.JSONDecodeError) else 0
    begin = max(0, position - EXCERPT_CHARACTERS // 2)
    return text[begin : begin + EXCERPT_CHARACTERS]

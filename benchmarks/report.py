"""RESULTS.md: one section a benchmark. What was not run this time stays as it was."""

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import psutil

HEAD = """# Measurements

Everything on one machine: simulator, broker, databases, our processes. Each section says when and
where it was made; `make bench ARGS="--only NAME"` makes one anew and keeps the others.
"""


def machine() -> str:
    """Describe where and when it was measured."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{psutil.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, "
        f"{datetime.now(UTC):%Y-%m-%d}"
    )


def write(path: Path, sections: Mapping[str, str], *, order: list[str]) -> None:
    """Put sections, by title, into the file, in this order. Others in it stay."""
    there = read(path.read_text()) if path.exists() else {}
    merged = there | dict(sections)
    titles = [title for title in order if title in merged]
    titles += [title for title in merged if title not in order]
    path.write_text(HEAD + "".join(f"\n## {title}\n\n{merged[title]}\n" for title in titles))


def read(text: str) -> dict[str, str]:
    """Return the sections of a file by title."""
    _, *parts = ("\n" + text).split("\n## ")
    titled = (part.partition("\n") for part in parts)
    return {title.strip(): body.strip() for title, _, body in titled}

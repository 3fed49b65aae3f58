"""RESULTS.md: one section per benchmark. Sections that are not measured again are kept."""

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import psutil

HEAD = """# Measurements

All processes of a measurement run on one machine: simulator, broker, databases and the pipeline.
Each section states when and where it was measured. `make bench ARGS="--only NAME"` repeats one
section and keeps the others.
"""


def machine() -> str:
    """Describe the machine and the date of the measurement."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{psutil.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, "
        f"{datetime.now(UTC):%Y-%m-%d}"
    )


def write(path: Path, sections: Mapping[str, str], *, order: list[str]) -> None:
    """Write sections into the file in this order; keep its other sections."""
    previous = read(path.read_text()) if path.exists() else {}
    merged = previous | dict(sections)
    titles = [title for title in order if title in merged]
    titles += [title for title in merged if title not in order]
    path.write_text(HEAD + "".join(f"\n## {title}\n\n{merged[title]}\n" for title in titles))


def read(text: str) -> dict[str, str]:
    """Return the sections of a file by title."""
    _, *parts = ("\n" + text).split("\n## ")
    titled = (part.partition("\n") for part in parts)
    return {title.strip(): body.strip() for title, _, body in titled}

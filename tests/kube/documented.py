"""The commands of docs/kubernetes.md, as a reader would run them."""

import re
import textwrap
from collections.abc import Iterator

from tests.kube.cache import REPOSITORY

PAGE = REPOSITORY / "docs" / "kubernetes.md"


def documented_commands(heading: str, containing: str) -> str:
    """
    Return the block of commands under a heading that contains a text.

    Raises:
        LookupError: If the page does not have exactly one such block.
    """
    blocks = [block for block in _blocks(_section(heading)) if containing in block]
    if len(blocks) != 1:
        raise LookupError(f"{len(blocks)} blocks with {containing!r} under {heading!r} of {PAGE}")
    return blocks[0]


def _section(heading: str) -> str:
    parts = re.split(r"(?m)^##+ ", PAGE.read_text())
    return next(part for part in parts if part.startswith(heading))


def _blocks(text: str) -> Iterator[str]:
    """Yield the indented blocks."""
    for block in re.findall(r"(?m)(?:^    .*\n|^\n(?=    ))+", text):
        yield textwrap.dedent(block).strip()

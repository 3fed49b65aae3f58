"""Tables of web pages, found by the names of their columns."""

from collections.abc import Iterable

from bs4 import BeautifulSoup, Tag


def table(html: str, columns: Iterable[str]) -> list[dict[str, str]] | None:
    """Return the rows of the first table that has these columns; None if no table has them."""
    required = set(columns)
    for candidate in BeautifulSoup(html, "html.parser").find_all("table"):
        rows = candidate.find_all("tr")
        header = _texts(rows[0]) if rows else []
        if required <= set(header):
            cells = [_texts(row) for row in rows[1:]]
            return [dict(zip(header, row, strict=False)) for row in cells if any(row)]
    return None


def _texts(row: Tag) -> list[str]:
    for note in row.find_all(["sup", "style"]):
        note.decompose()
    return [" ".join(cell.get_text(" ").split()) for cell in row.find_all(["th", "td"])]

"""Tables of web pages, found by the names of their columns."""

from collections.abc import Iterable, Iterator, Sequence

from bs4 import BeautifulSoup, Tag

LARGEST_SPAN = 1000  # of HTML

# The texts of a row by column. None: a cell that begins in a column before covers this one.
Cells = list[str | None]


def table(html: str, columns: Iterable[str]) -> list[dict[str, str]] | None:
    """
    Return the rows of the first table that has each of these columns once; None without one.

    A cell that covers several rows is the value of each of them. A cell that covers several columns
    is the value of the first one, and the row lacks the others. A row with more or fewer cells than
    the header has no column at all: it is not known which of its values is missing.
    """
    required = set(columns)
    for candidate in BeautifulSoup(html, "html.parser").find_all("table"):
        header, *rows = [*_grid(candidate)] or [[]]
        names = [name if header.count(name) == 1 else None for name in header]
        if required <= set(names):
            return [_record(names, cells) for cells in rows if any(cells)]
    return None


def _record(names: Cells, cells: Cells) -> dict[str, str]:
    if len(cells) != len(names):
        return {"": " | ".join(cell or "" for cell in cells)}
    pairs = zip(names, cells, strict=True)
    return {name: cell for name, cell in pairs if name is not None and cell is not None}


def _grid(candidate: Tag) -> Iterator[Cells]:
    """Yield the rows of a table, without those of tables inside of its cells."""
    # By column: how many of the next rows a cell still covers, and its text.
    covered: dict[int, tuple[int, str | None]] = {}
    for row in candidate.find_all("tr"):
        if row.find_parent("table") is candidate:
            columns = _add_row(row, covered)
            # A row without its last cells may end before a column that is covered from above. It
            # then has fewer cells than the header.
            yield [columns[column][1] for column in sorted(columns)]
            covered = {
                column: (rows - 1, text) for column, (rows, text) in columns.items() if rows > 1
            }


def _add_row(
    row: Tag, covered: dict[int, tuple[int, str | None]]
) -> dict[int, tuple[int, str | None]]:
    """Return the columns of a row: the cells of rows above it that cover it, and its own."""
    columns = dict(covered)
    for cell in _cells(row):
        # As a browser does, put the cell into the first column that no cell covers.
        column = next(free for free in range(len(columns) + 1) if free not in columns)
        rows, text = _span(cell, "rowspan"), _text(cell)
        for offset in range(_span(cell, "colspan")):
            columns.setdefault(column + offset, (rows, None if offset else text))
    return columns


def _cells(row: Tag) -> Sequence[Tag]:
    return [cell for cell in row.find_all(["th", "td"]) if cell.find_parent("tr") is row]


def _span(cell: Tag, name: str) -> int:
    written = str(cell.get(name) or "1").strip()
    if not (written.isascii() and written.isdigit()):
        return 1
    # 0 rows: up to the end of the table.
    return min(int(written[:5]), LARGEST_SPAN) or (LARGEST_SPAN if name == "rowspan" else 1)


def _text(cell: Tag) -> str:
    for note in cell.find_all(["sup", "style"]):
        note.decompose()
    return " ".join(cell.get_text(" ").split())

"""Read the lists that datasets are made from: CSV files in the folder `data`."""

import csv
from pathlib import Path

FOLDER = Path(__file__).with_name("data")


def read_list(name: str) -> list[dict[str, str]]:
    """Return the rows of a list, in its order."""
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))

"""Wikipedia's page of the S&P 500's members."""

from collections.abc import Mapping
from html import escape
from random import Random

from ray_pipeline.simulators.bodies.body import Body, Simulated
from ray_pipeline.simulators.bodies.sp500_members import companies

HEADER = (
    "Symbol", "Security", "GICS Sector", "GICS Sub-Industry", "Headquarters Location",
    "Date added", "CIK", "Founded",
)  # fmt: skip  # fmt: skip


def generate(path: str, _query: Mapping[str, str], random: Random) -> Body | None:
    """Answer the page of the S&P 500's members."""
    if "List_of_S" not in path:
        return None
    head = "".join(f"<th>{name}</th>" for name in HEADER)
    rows = "".join(
        f"<tr><td><a href='/x'>{escape(symbol)}</a></td><td>{escape(name)}</td><td>Industrials</td>"
        "<td>Machinery</td><td>New York, New York</td><td>1999-01-04</td>"
        f"<td>{random.randrange(10**7):010d}</td><td>1902</td></tr>"
        for symbol, name in companies()
    )
    return Body(
        "<!DOCTYPE html><html><head><title>List of S&amp;P 500 companies</title></head><body>"
        f"<table class='wikitable sortable' id='constituents'><tbody><tr>{head}</tr>{rows}</tbody>"
        "</table></body></html>",
        "text/html",
    )


SIMULATED = Simulated(generate, recordings="sp500")

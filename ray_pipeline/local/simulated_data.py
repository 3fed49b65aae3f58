"""Simulated rows among real ones: a warning, because no row says which it is."""

from pathlib import Path

FILE = "simulated"  # in a home whose databases have simulated rows


def warning(home: Path, *, simulated: bool, embedded: bool) -> str | None:
    """
    Return what a person should know before rows are stored, None where nothing mixes.

    A home where simulated rows go remembers it.

    Args:
        home: The home, which exists.
        simulated: Whether this run simulates any feed.
        embedded: Whether its Postgres is that of the home.
    """
    marker = home / FILE
    if simulated and embedded:
        marker.touch()
        return None
    if simulated:
        return "simulated rows go into the Postgres of PIPELINE_POSTGRES__DSN; unset it to avoid it"
    if embedded and marker.exists():
        return (
            f"simulated rows of an earlier run are among the data in {home}, and jobs that it ran "
            "count as run; for real data alone set PIPELINE_HOME to another folder"
        )
    return None

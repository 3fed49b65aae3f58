"""The warning before simulated and real rows mix, because no row says which it is."""

from pathlib import Path

FILE = "simulated"  # this file marks a home that has simulated rows in its database


def warning(home: Path, *, simulated: bool, embedded: bool) -> str | None:
    """
    Return the warning for a run, or None if simulated and real rows do not mix.

    If this run stores simulated rows in the home, mark the home.

    Args:
        home: The home, which exists.
        simulated: Whether this run simulates any feed.
        embedded: Whether it stores rows in the Postgres of the home.
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

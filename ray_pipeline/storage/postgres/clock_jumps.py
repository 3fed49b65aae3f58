"""Jumps of the database's clock that the ledger has noticed; see the SQL `quota_clock_jump`."""

from dataclasses import asdict, dataclass
from datetime import datetime

from ray_pipeline.storage.postgres.connection import Connection

READ = """
    SELECT jump_s, jumped_at FROM quota_clocks WHERE jump_s > 0 ORDER BY jump_s DESC
"""
ACCEPT = "DELETE FROM quota_clocks"
FIX = "if it is right now, run `ray-pipeline quotas --accept-clock`; if not, set it"


@dataclass(frozen=True, slots=True)
class ClockJump:
    """
    A jump that one machine has noticed.

    Attributes:
        jump_s: By how much the clock is ahead of the time that has elapsed.
        jumped_at: When the jump was noticed, by the time before it.
    """

    jump_s: float
    jumped_at: datetime

    def __str__(self) -> str:
        """Return the jump, its consequence and what to do, for people."""
        return (
            f"the clock of Postgres jumped forward by {_length(self.jump_s)} at "
            f"{self.jumped_at:%Y-%m-%d %H:%M} UTC, and calls count by the time before and after; "
            f"{FIX}"
        )

    def as_json(self) -> dict[str, object]:
        """Return the fields as JSON shows them."""
        return asdict(self)


def _length(seconds: float) -> str:
    return f"{seconds / 3600:.3g} h" if seconds >= 3600 else f"{seconds:.0f} s"


async def read_clock_jumps(connection: Connection) -> list[ClockJump]:
    """Return the jumps that no one has accepted, the largest first."""
    cursor = await connection.execute(READ)
    return [ClockJump(*row) for row in await cursor.fetchall()]


async def accept_clock(connection: Connection) -> None:
    """Take the present clock for the right one; the next jump is measured from it."""
    await connection.execute(ACCEPT)

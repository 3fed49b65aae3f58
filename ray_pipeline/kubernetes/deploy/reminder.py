"""Lines that say what a rollout waits for, and since when, while nothing changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ray_pipeline.kubernetes.deploy.objects import Ref
from ray_pipeline.kubernetes.deploy.readiness import Readiness

EVERY_S = 30.0


@dataclass(slots=True)
class Reminder:
    """
    Repeats the objects that a wait is for, so that the terminal is never silent for long.

    Attributes:
        since_s: When the wait began, on the clock of the rollout.
        at: The same as a time of day in UTC, for comparison with logs of the cluster.
    """

    since_s: float
    at: str = field(default_factory=lambda: f"{datetime.now(UTC):%H:%M:%S}")
    _printed_s: float = 0.0

    def line(self, late: Mapping[Ref, Readiness], *, now_s: float) -> str:
        """Return the line that is due now, empty if it is too early for the next one."""
        waited_s = now_s - self.since_s
        if waited_s - self._printed_s < EVERY_S:
            return ""
        self._printed_s = waited_s
        names = "; ".join(f"{ref}: {state.detail}" for ref, state in late.items())
        return f"  ... waiting since {self.at} UTC ({waited_s:.0f} s) for {names}"

"""A lease: the right to do a piece of work alone for a while."""

from dataclasses import dataclass

# The holder stops this much earlier than the database lets go: clocks drift, and a record that
# passed the check still needs a moment to leave.
MARGIN = 0.1


@dataclass(frozen=True, slots=True)
class Lease:
    """
    A lease as its holder knows it.

    Attributes:
        resource: What is owned, such as `producer/sp500/3`.
        holder: Who owns it; no two processes share a name.
        generation: The holder's release.
        epoch: Grows with every new holder, never with a renewal.
        deadline_s: On `time.monotonic`: from then on the holder must not act.
    """

    resource: str
    holder: str
    generation: int
    epoch: int
    deadline_s: float


def deadline_s(*, asked_at_s: float, ttl_s: float) -> float:
    """Return until when a lease that was asked for at `asked_at_s` may be used."""
    return asked_at_s + ttl_s * (1 - MARGIN)

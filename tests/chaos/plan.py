"""The plan of a run: which fault begins when, on what and for how long. A seed repeats it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.stack import Stack

Run = Callable[["Stack", str, float], Awaitable[None]]
"""Begins a fault on a target, waits for some seconds and undoes it."""

WARM_UP_S = 5.0  # so that the first records flow before the first fault


@dataclass(frozen=True, slots=True)
class FaultKind:
    """
    A kind of fault.

    Attributes:
        run: Begins it on a target, waits, and undoes it; also if it is interrupted.
        targets: On what it may be.
        shortest_s, longest_s: How long it lasts; 0 for a fault that is over at once.
        weight: How often it is chosen, compared with others.
    """

    run: Run
    targets: Sequence[str]
    shortest_s: float = 0.0
    longest_s: float = 0.0
    weight: int = 2

    @property
    def name(self) -> str:
        """The name in tables and on the command line."""
        return self.run.__name__


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A fault of the plan; `at_s` counts from the start of the run."""

    number: int
    at_s: float
    kind: FaultKind
    target: str
    lasts_s: float

    def __str__(self) -> str:
        lasting = f" for {self.lasts_s:.1f} s" if self.lasts_s else ""
        return f"#{self.number} {self.kind.name} {self.target}{lasting}"


def make_plan(
    kinds: Sequence[FaultKind], *, count: int, seconds: float, seed: int
) -> list[PlannedFault]:
    """
    Return `count` faults in the order of their times, spread at random over `seconds`.

    Every kind comes once before any kind comes by chance, so that a run with as many faults as
    kinds covers all of them.
    """
    random = Random(seed)
    chosen = random.sample(kinds, k=min(count, len(kinds)))
    weights = [kind.weight for kind in kinds]
    chosen += random.choices(kinds, weights, k=count - len(chosen))
    times_s = sorted(random.uniform(WARM_UP_S, max(WARM_UP_S, seconds)) for _ in chosen)
    return [
        PlannedFault(
            number,
            at_s,
            kind,
            random.choice(kind.targets),
            round(random.uniform(kind.shortest_s, kind.longest_s), 1),
        )
        for number, (at_s, kind) in enumerate(zip(times_s, chosen, strict=True), start=1)
    ]

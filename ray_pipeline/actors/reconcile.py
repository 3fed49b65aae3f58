"""
The decisions of a reconciliation round: what to start, retire and restart. Pure.

A handover keeps data flowing: the successor starts first, requests the lease, and is at work before
its predecessor is retired. Actors of EXCLUSIVE kinds cannot overlap; they are retired first, and
the successor continues where the manifest ends.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Literal

from ray_pipeline.actors.desired import Desired
from ray_pipeline.actors.generations import Outdated, at_work

EXCLUSIVE = frozenset({"archiver"})
UNRESPONSIVE_S = 30.0  # three calls that time out; a restart by Ray takes less
STOPPED_S = 60.0  # after `drain-node` stopped an actor, its node has ended by then
MOVING_S = 180.0  # a pod is killed after 150 s, and with it a move that did not finish

Retirement = Literal["wait", "if_idle", "now"]


def is_up(status: object) -> bool:
    """Return whether a status came from the actor itself."""
    return isinstance(status, dict) and status.get("state") != "unreachable"


def actors_to_start(
    desired: Sequence[Desired], living: Set[str], *, replaced: Sequence[Outdated]
) -> list[Desired]:
    """
    Return the desired actors to start in this round, in their order.

    Of the actors that replace an older one, start one at a time: two full generations at once would
    double the memory and the connections to each provider.
    """
    # A successor counts as living before it is at work: the next handover waits for this one, since
    # its predecessor leaves the list of outdated actors only when it ends.
    missing = [actor for actor in desired if actor.name not in living]
    successors = {old.successor.name for old in replaced if old.successor is not None}
    new = [actor for actor in missing if actor.name not in successors]
    if successors & living:
        return new  # one handover is in progress
    return new + [actor for actor in missing if actor.name in successors][:1]


def retirement(old: Outdated, statuses: Mapping[str, object]) -> Retirement:
    """
    Decide whether an outdated actor may be retired, given the statuses of the desired actors.

    A successor that is up but not at work may lack a key, as its predecessor may. A predecessor
    without work has nothing to hand over: "if_idle" lets it go all the same.
    """
    if old.successor is None or old.kind in EXCLUSIVE:
        return "now"
    status = statuses.get(old.successor.name)
    if not is_up(status):
        return "wait"
    return "now" if at_work(old.kind, status) else "if_idle"


@dataclass(slots=True)
class StallClock:
    """
    Measures how long each actor has been unresponsive or stopped.

    Ray restarts an actor that died. An actor that lives but does no work is restarted by the
    supervisor, once its time is up.
    """

    _since_s: dict[str, float] = field(default_factory=dict)

    def restart_reason(self, name: str, status: object, *, now_s: float) -> str:
        """Return why to restart an actor now, empty if it works or may still recover."""
        up = is_up(status)
        if up and not (isinstance(status, dict) and status.get("state") == "stopped"):
            self._since_s.pop(name, None)
            return ""
        since_s = self._since_s.setdefault(name, now_s)
        if now_s - since_s < (STOPPED_S if up else UNRESPONSIVE_S):
            return ""
        # The restarted actor gets the full time again.
        del self._since_s[name]
        return "is stopped" if up else "is unresponsive"

    def redundant(self, name: str, instances: Sequence[str], *, now_s: float) -> Sequence[str]:
        """Return those of the actor's other instances whose move should have ended by now."""
        key = f"{name} moves"
        if not instances:
            self._since_s.pop(key, None)
            return ()
        since_s = self._since_s.setdefault(key, now_s)
        return instances if now_s - since_s >= MOVING_S else ()

"""The release in an actor's name, and which actors a release replaces. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ray_pipeline.actors.desired import Desired

NAME = re.compile(r"(?P<base>[a-z]+[\w-]*)-g(?P<generation>\d+)")


@dataclass(frozen=True, slots=True)
class Outdated:
    """
    An actor that should go.

    Attributes:
        name: Its name.
        kind: Which class, the first word of its name.
        successor: The desired actor that takes its work over; None where nobody needs it any more.
    """

    name: str
    kind: str
    successor: Desired | None


def outdated(
    living: Iterable[str], desired: Sequence[Desired], *, generation: int
) -> Iterator[Outdated]:
    """
    Yield living actors of an older release, and those of this one that are not wanted any more.

    A newer release's actors are left alone: this one is on its way out.
    """
    wanted = {one.name: one for one in desired}
    for name in sorted(living):
        found = NAME.fullmatch(name)
        if found is None or name in wanted or int(found["generation"]) > generation:
            continue
        successor = wanted.get(f"{found['base']}-g{generation}")
        yield Outdated(name, found["base"].partition("-")[0], successor)


def at_work(kind: str, status: object) -> bool:
    """Say whether an actor's status shows that it does its work, so that no other one has to."""
    if not isinstance(status, dict):
        return False
    if kind == "producer":
        return bool(status.get("valid"))
    if kind == "consumer":
        return status.get("state") == "storing"
    return not status.get("cause")

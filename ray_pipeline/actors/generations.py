"""The generation in an actor's name, and which actors a newer generation replaces. Pure.

An actor has two names, with and without `-moved`. A move to another node starts the successor under
the name that is free, so that the two can overlap. Afterwards the actor keeps that name.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ray_pipeline.actors.desired import Desired

NAME = re.compile(r"(?P<base>[a-z]+[\w-]*?)(?P<moved>-moved)?-g(?P<generation>\d+)")


@dataclass(frozen=True, slots=True)
class Outdated:
    """
    An actor to retire.

    Attributes:
        name: Its name.
        kind: Its class, the first word of its name.
        successor: The desired actor that takes over; None if none is desired any more.
    """

    name: str
    kind: str
    successor: Desired | None


def twin(name: str) -> str:
    """Return the other name of an actor; a name without a generation has no other."""
    match = NAME.fullmatch(name)
    if match is None:
        return name
    return f"{match['base']}{'' if match['moved'] else '-moved'}-g{match['generation']}"


def outdated(
    living: Iterable[str], desired: Sequence[Desired], *, generation: int
) -> Iterator[Outdated]:
    """
    Yield the living actors of older generations, and those of this one that are not desired.

    Actors of a newer generation are left alone: that generation replaces this one.
    """
    by_name = {actor.name: actor for actor in desired}
    for name in sorted(living):
        match = NAME.fullmatch(name)
        if match is None or int(match["generation"]) > generation:
            continue
        if name in by_name or twin(name) in by_name:
            continue
        # Numbers of shards and consumers are part of the base: each actor has its own successor.
        successor = by_name.get(f"{match['base']}-g{generation}")
        yield Outdated(name, match["base"].partition("-")[0], successor)


def at_work(kind: str, status: object) -> bool:
    """Return whether an actor's status shows that it holds all it needs and does its work."""
    if not isinstance(status, dict):
        return False
    if kind == "producer":
        return bool(status.get("valid"))
    if kind == "consumer":
        return status.get("state") == "storing"
    return not status.get("cause")

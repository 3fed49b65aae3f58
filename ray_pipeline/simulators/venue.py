"""A simulator of a venue as a value: how to start it, and for which rates."""

from collections.abc import Callable
from dataclasses import dataclass

from ray_pipeline.simulators.base import Simulator
from ray_pipeline.simulators.options import Options


@dataclass(frozen=True, slots=True)
class VenueSimulator:
    """
    A simulator of a venue.

    Attributes:
        name: Name of the command.
        help: Its help text.
        make: Return the server.
        rate: Default of records per second.
        demo_rate: Records per second in the demo.
        addresses: Attributes of the server that the command prints when it listens.
    """

    name: str
    help: str
    make: Callable[[Options], Simulator]
    rate: float
    demo_rate: float
    addresses: tuple[str, ...]

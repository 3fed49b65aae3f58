"""Every simulator of a venue: each module of `simulators` with a `SIMULATOR`."""

from ray_pipeline import simulators
from ray_pipeline.discovery import discover
from ray_pipeline.simulators.venue import VenueSimulator


def venue_simulators() -> dict[str, VenueSimulator]:
    """Return the simulators by name, sorted."""
    discovered = discover(
        simulators,
        "SIMULATOR",
        VenueSimulator,
        skip=simulators.SHARED_MODULES,
        guide='CONTRIBUTING.md, "Add a venue"',
    )
    return {simulator.name: simulator for simulator in discovered}

"""The list of Upbit's markets, in the form of Bithumb's."""

from ray_pipeline.simulators.bodies.bithumb_bodies import generate
from ray_pipeline.simulators.bodies.body import Simulated

SIMULATED = Simulated(generate)

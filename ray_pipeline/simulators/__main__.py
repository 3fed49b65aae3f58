"""python -m ray_pipeline.simulators NAME ..."""

from ray_pipeline.simulators.command import simulate_app

simulate_app()

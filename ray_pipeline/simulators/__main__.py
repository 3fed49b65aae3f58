"""python -m ray_pipeline.simulators finnhub|bithumb ..."""

from ray_pipeline.simulators.command import simulate_app

simulate_app()

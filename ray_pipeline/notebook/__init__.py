"""Read collected data and control live actors from a notebook: `ray_pipeline.connect()`."""

from ray_pipeline.notebook.connecting import connect
from ray_pipeline.notebook.pipeline import Pipeline

__all__ = ["Pipeline", "connect"]

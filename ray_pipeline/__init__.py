"""Collect market data on Ray: every record stored once, every loss written down."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray_pipeline.notebook import connect

__all__ = ["__version__", "connect"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # Imported late: a worker that wants one module must not wait for what notebooks need.
    if name == "connect":
        return importlib.import_module("ray_pipeline.notebook").connect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

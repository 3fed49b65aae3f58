"""Collect market data on Ray: every record stored once, every loss written down."""

__version__ = "0.1.0"

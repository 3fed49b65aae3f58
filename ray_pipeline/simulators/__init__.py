"""Servers that speak each provider's protocol, from generated or recorded data, with faults."""

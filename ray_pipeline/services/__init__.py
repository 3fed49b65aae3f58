"""Flows joined with their storage: what an actor, a Ray job or a test runs."""

"""Decide how collecting goes, from counted facts: status, audit, metrics, and reasons. Pure."""

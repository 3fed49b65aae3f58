"""Postgres: history, progress, leases, quotas, and everything else that must survive."""

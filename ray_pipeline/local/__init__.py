"""Servers for a laptop and for the tests: a broker, Postgres and Valkey as child processes."""

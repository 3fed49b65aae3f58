"""Redis: the latest values, derived from Postgres."""

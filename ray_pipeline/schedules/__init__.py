"""Cron expressions in a named time zone, and the slots that are due."""

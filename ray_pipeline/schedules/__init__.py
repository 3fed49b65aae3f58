"""When: cron expressions in a named time zone, the slots that are due, the shipped timetable."""

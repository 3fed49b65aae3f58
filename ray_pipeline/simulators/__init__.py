"""Servers that stand in for the providers, with faults on request. New modules are discovered."""

# Modules that define no simulator of a venue.
SHARED_MODULES = frozenset(
    {
        "base", "bodies", "command", "listening", "options", "prices", "recorded", "recording",
        "refusal_texts", "rest", "venue", "venue_registry",
    }
)  # fmt: skip

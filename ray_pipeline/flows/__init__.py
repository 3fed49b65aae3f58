"""Use cases over ports. Each says in which order things happen, and what a crash leaves."""

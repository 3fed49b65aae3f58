"""HTTP calls of providers: bounded in time and size, and redirects that never carry a key away."""

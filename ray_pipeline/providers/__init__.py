"""
One module per provider of batch data, each with one PROVIDER. New modules are discovered.

A module holds everything about its provider: the address, the quota of a free key, what its
refusals mean, and its client if plain HTTP is not enough.
"""

# Modules that define no provider.
SHARED_MODULES = frozenset({"provider", "quota", "refusals", "registry"})

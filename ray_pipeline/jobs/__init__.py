"""
One module per batch dataset, each with one SPEC; a module that is put here is discovered.

Modules with a leading underscore are shared by several datasets.
"""

# The modules here that describe what a dataset is made of, and are no dataset themselves.
VOCABULARY = frozenset({"columns", "spec", "table", "values"})

"""
One module for each batch dataset, with one SPEC. A new module is discovered by its place here.

Modules with a leading underscore are shared by several datasets.
"""

# The modules that define the vocabulary of datasets instead of datasets.
VOCABULARY = frozenset({"columns", "spec", "table", "values"})

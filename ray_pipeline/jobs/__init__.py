"""One module per batch dataset, each with one SPEC; a module that is put here is found."""

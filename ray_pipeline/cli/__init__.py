"""The commands, by subject; each module is a typer app."""

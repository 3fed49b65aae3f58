"""Texts that a provider wrote, made safe for logs, tables and terminals."""

LONGEST_TEXT = 300  # characters


def foreign_text(text: str) -> str:
    """Return the beginning of a text on one line, without the characters that cannot be shown."""
    start = text[: 4 * LONGEST_TEXT]
    # Postgres stores neither NUL nor half a surrogate pair; a terminal executes control characters.
    plain = " ".join("".join(c if c.isprintable() else " " for c in start).split())
    cut = len(plain) > LONGEST_TEXT or len(text) > len(start)
    return f"{plain[:LONGEST_TEXT]}..." if cut else plain

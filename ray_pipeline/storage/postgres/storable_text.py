"""Write texts that Python can hold and Postgres cannot: with a NUL, or half a surrogate pair."""

from psycopg.abc import AdaptContext
from psycopg.adapt import Dumper
from psycopg.pq import Format


def storable_text(text: str) -> str:
    """
    Return a text that Postgres can store.

    NULs are removed. A high and a low surrogate that follow each other become the character that
    they stand for; a single surrogate becomes U+FFFD.
    """
    if "\x00" in text:
        text = text.replace("\x00", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def write_any_text(context: AdaptContext) -> None:
    """
    Make a connection pass every text that it sends as a value through `storable_text`.

    Causes, reasons and states quote what a provider sent. One text that Postgres refuses would
    otherwise stop the process that reports it. The lines of COPY do not pass here: `feeds.layout`
    refuses such a text in a record.
    """
    context.adapters.register_dumper(str, _StorableDumper)


class _StorableDumper(Dumper):
    """
    Sends text with the type `unknown`, as psycopg's default dumper does.

    It is not a subclass of that one, which is written in C: psycopg's C code does not call the
    `dump` of a Python subclass.
    """

    format = Format.TEXT

    def dump(self, obj: str) -> bytes:
        """Return the text in UTF-8, the encoding of every connection."""
        return storable_text(obj).encode()

"""Read times that Postgres can hold and Python cannot: before year 1, after 9999, infinity."""

from datetime import date, datetime
from functools import cache
from typing import Any, ClassVar, LiteralString

from psycopg import DataError, adapters, sql
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format

from ray_pipeline.timestamps import EARLIEST, LATEST

DAY_CHARACTERS = len("9999-12-31")


def read_any_time(context: AdaptContext) -> None:
    """
    Make a connection return the nearest time that Python has instead of raising DataError.

    Postgres holds dates from 4713 BC to 5874897, timestamps to 294276, and both infinities. One
    such row would fail every query that returns it. A time that is too early becomes the first
    `datetime` (`timestamps.EARLIEST`), a time that is too late the last one (`timestamps.LATEST`);
    a `timestamp` or a `date` becomes the same value without a zone or a time. This holds for text
    and binary results and for the elements of arrays.

    Arithmetic on the results can leave Python's range: use the functions of `timestamps`.
    """
    for name, first, last in (
        ("timestamptz", EARLIEST, LATEST),
        ("timestamp", datetime.min, datetime.max),  # noqa: DTZ901 - these columns have no zone
        ("date", date.min, date.max),
    ):
        oid = context.adapters.types[name].oid
        for wire_format in (Format.TEXT, Format.BINARY):
            loader = _loader(oid, wire_format, (first, last))
            context.adapters.register_loader(oid, loader)


def age_s(column: LiteralString) -> sql.Composed:
    """
    Return SQL for the seconds since a `timestamptz`: a finite float8, NULL for NULL.

    Before version 17, subtracting an infinite time is an error that fails the whole query. Since
    then the difference is infinite, which JSON cannot represent. The infinities are therefore
    replaced with the ends of Python's calendar.
    """
    return sql.SQL(
        "extract(epoch FROM now() - CASE {column} WHEN 'infinity' THEN '9999-12-31 00:00Z' "
        "WHEN '-infinity' THEN '0001-01-01 00:00Z' ELSE {column} END)::float8"
    ).format(column=sql.SQL(column))


@cache
def _loader(oid: int, wire_format: Format, ends: tuple[date, date]) -> type[Loader]:
    usual = adapters.get_loader(oid, wire_format)
    assert usual is not None, "psycopg has a loader for every type of time"

    class Nearest(_NearestLoader):
        format = wire_format
        bounds = ends
        usual_loader = usual

    return Nearest


class _NearestLoader(Loader):
    """
    Reads a time with psycopg's own loader, and returns the nearest bound instead of its error.

    It delegates instead of inheriting: the usual loader is written in C, and psycopg's C code does
    not call the `load` of a Python subclass.
    """

    bounds: ClassVar[tuple[date, date]]
    usual_loader: ClassVar[Any]

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._load = self.usual_loader(oid, context).load

    def load(self, data: Buffer) -> Any:
        """
        Return the time.

        Raises:
            DataError: If the value cannot be read for another reason than its range.
        """
        try:
            return self._load(data)
        except DataError:
            side = (_binary_side if self.format is Format.BINARY else _text_side)(bytes(data))
            if side is None:
                raise
            return self.bounds[side]


def _binary_side(data: bytes) -> int:
    """Return 0 for a time that is too early, 1 for too late. Binary times count from 2000."""
    return 0 if int.from_bytes(data, "big", signed=True) < 0 else 1


def _text_side(data: bytes) -> int | None:
    """Return 0 for a time that is too early, 1 for too late, None for any other text."""
    if data == b"-infinity" or data.endswith(b" BC"):
        return 0
    if data == b"infinity" or len(data.split()[0]) > DAY_CHARACTERS:
        return 1
    return None

"""A pipeline in a notebook: frames of collected data, and the live actors."""

import difflib
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal

from ray_pipeline.errors import PipelineError
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.notebook import shapes
from ray_pipeline.notebook.actors import Actors
from ray_pipeline.notebook.background import Background
from ray_pipeline.notebook.cluster import RayCluster
from ray_pipeline.notebook.frames import (
    Form,
    Frame,
    FrameOptions,
    Numbers,
    Row,
    Shape,
    frame,
    time_of,
)
from ray_pipeline.notebook.paging import PAGE_ROWS, Moment, Read, between, moment
from ray_pipeline.notebook.row_source import RowSource
from ray_pipeline.stream.bars import INTERVALS
from ray_pipeline.timestamps import nearest_of_ms

Symbols = str | Iterable[str]
Part = Literal["feeds", "shards", "consumers", "dead_letters", "uncovered", "topics"]
USUAL_LIMIT = 10_000


class Pipeline:
    """
    The collected data, and the actors that collect it.

    Every method that returns rows takes `as_` ("pandas" or "arrow"). Methods that return prices
    take `numbers` ("float", or "decimal" for every digit that the provider sent). Times are UTC.
    The methods block until the result is there, also inside a running event loop. All raise
    Unavailable, with a fix, while the source does not answer.
    """

    def __init__(self, background: Background, source: RowSource, cluster: RayCluster) -> None:
        """Take the source and the cluster; see `connect`."""
        self._background = background
        self._source = source
        self._cluster = cluster
        self._feed_of: dict[str, Feed] = {}
        self._description = background.run(source.open())

    def __repr__(self) -> str:
        simulated = self._source.simulated
        note = f"; SIMULATED: {', '.join(simulated)}" if simulated else ""
        return f"<Pipeline of {self._description}{note}>"

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; frames that were returned stay valid."""
        self._background.run(self._source.close())
        self._cluster.disconnect()
        self._background.close()

    @property
    def simulated(self) -> tuple[str, ...]:
        """The simulated providers."""
        return self._source.simulated

    @property
    def producers(self) -> Actors:
        """
        The living producers, by names such as `sp500-01`.

        Raises:
            PipelineError: If no Ray cluster can be joined.
        """
        return self._cluster.actors("producer")

    @property
    def consumers(self) -> Actors:
        """The living consumers, by names such as `sp500-0`; see `producers`."""
        return self._cluster.actors("consumer")

    def symbols(self, feed: str | None = None) -> list[str]:
        """Return the symbols that have a value, of one feed or of all, in order."""
        names = (self._background.run(self._source.symbols(spec)) for spec in _feeds(feed))
        return sorted(set().union(*names))

    def latest(
        self,
        symbols: Symbols | None = None,
        *,
        feed: str | None = None,
        as_: Form = "pandas",
        numbers: Numbers = "float",
    ) -> Frame:
        """
        Return latest values of these symbols, or of all: one row per symbol and feed.

        Raises:
            PipelineError: If no feed has a value of any of these symbols.
        """
        options = FrameOptions(as_, numbers)
        names = None if symbols is None else _names(symbols)
        rows = self._background.run(self._latest(names, _feeds(feed)))
        if names and not rows:
            raise self._unknown(names)
        return frame(rows, shapes.LATEST, options)

    def history(
        self,
        symbol: str,
        start: Moment | None = None,
        end: Moment | None = None,
        limit: int = USUAL_LIMIT,
        *,
        feed: str | None = None,
        as_: Form = "pandas",
        numbers: Numbers = "float",
    ) -> Frame:
        """
        Return a symbol's records by event time, from `start` up to, but excluding, `end`.

        With `start` these are the first `limit` records, without it the newest ones; the oldest
        comes first in both cases. Without `feed`, the first feed that has the symbol is read.

        Raises:
            PipelineError: If no feed has the symbol, or a time is invalid.
        """
        options, spec = FrameOptions(as_, numbers), self._feed(symbol, feed)
        column = shapes.event_column(spec)
        rows = self._between(
            lambda request: self._source.history(spec, request),
            symbol,
            start=start,
            end=end,
            limit=limit,
            when=lambda row: nearest_of_ms(row[column]),
        )
        timed = [{**row, shapes.EVENT_TIME: nearest_of_ms(row[column])} for row in rows]
        return frame(timed, shapes.history(spec), options)

    def bars(
        self,
        symbol: str,
        interval: str = "1m",
        start: Moment | None = None,
        end: Moment | None = None,
        limit: int = USUAL_LIMIT,
        *,
        feed: str | None = None,
        as_: Form = "pandas",
        numbers: Numbers = "float",
    ) -> Frame:
        """
        Return a symbol's bars of 1s, 1m, 5m or 1h by their start; for the range see `history`.

        Raises:
            PipelineError: If no feed has the symbol, or bars of that interval do not exist.
        """
        if interval not in INTERVALS:
            raise PipelineError(f"no bars of {interval!r}", fix=f"one of {', '.join(INTERVALS)}")
        options, spec = FrameOptions(as_, numbers), self._feed(symbol, feed)
        rows = self._between(
            lambda request: self._source.bars(spec, request, interval=interval),
            symbol,
            start=start,
            end=end,
            limit=limit,
            when=lambda row: time_of(row["start_at"]),
        )
        return frame(rows, shapes.BARS, options)

    def gaps(self, feed: str | None = None, limit: int = 1_000, *, as_: Form = "pandas") -> Frame:
        """Return the data that could not be collected, of a feed or of all, newest first."""
        name = None if feed is None else _feeds(feed)[0].name
        return self._frame(FrameOptions(as_), shapes.GAPS, self._gaps(name, limit))

    def jobs(self, *, as_: Form = "pandas") -> Frame:
        """Return every batch dataset by name: when it runs, and how its newest run went."""
        options = FrameOptions(as_)
        rows = self._background.run(self._source.jobs())
        # A job that never ran has no newest run to take its state from.
        return frame([{**(row["last"] or {}), **row} for row in rows], shapes.JOBS, options)

    def runs(self, job: str | None = None, limit: int = 100, *, as_: Form = "pandas") -> Frame:
        """Return the newest runs of a job or of all: state, calls, rows, and why."""
        return self._frame(FrameOptions(as_), shapes.RUNS, self._source.runs(job, limit=limit))

    def quotas(self, *, as_: Form = "pandas") -> Frame:
        """Return the used and the remaining quota of every key; keys by their fingerprints."""
        return self._frame(FrameOptions(as_), shapes.QUOTAS, self._source.quotas())

    def status(self, part: Part = "feeds", *, as_: Form = "pandas") -> Frame:
        """
        Return a table of the status: `feeds`, `shards`, `consumers`, `dead_letters`, `uncovered`,
        or `topics`.

        `records_per_s` is the average since the last call; an API returns it at the first call.

        Raises:
            PipelineError: If the part does not exist.
        """
        if part not in shapes.STATUS:
            raise PipelineError(f"no part {part!r}", fix=f"one of {', '.join(shapes.STATUS)}")
        options = FrameOptions(as_)
        tables = self._background.run(self._source.status())
        return frame(tables[part], shapes.STATUS[part], options)

    def _frame(
        self, options: FrameOptions, shape: Shape, rows: Coroutine[Any, Any, list[Row]]
    ) -> Frame:
        return frame(self._background.run(rows), shape, options)

    async def _latest(self, symbols: Sequence[str] | None, specs: Sequence[Feed]) -> list[Row]:
        rows: list[Row] = []
        for spec in specs:
            names = await self._source.symbols(spec) if symbols is None else symbols
            rows += [
                {
                    **value,
                    "feed": spec.name,
                    shapes.EVENT_TIME: nearest_of_ms(value["event_time_ms"]),
                }
                for value in await self._source.latest(spec, names)
            ]
        return rows

    def _between(
        self,
        read: Read,
        symbol: str,
        *,
        start: Moment | None,
        end: Moment | None,
        limit: int,
        when: Callable[[Row], datetime],
    ) -> list[Row]:
        first, last = moment(start, "start"), moment(end, "end")
        return self._background.run(
            between(read, symbol, start=first, end=last, limit=limit, when=when)
        )

    async def _gaps(self, feed: str | None, limit: int) -> list[Row]:
        rows: list[Row] = []
        after: object | None = None
        while len(rows) < limit:
            size = min(PAGE_ROWS, limit - len(rows))
            page = await self._source.gaps(feed, after=after, limit=size)
            rows += page.rows
            after = page.next
            if after is None:
                break
        return rows

    def _feed(self, symbol: str, feed: str | None) -> Feed:
        """Return the feed of that name, or else the first feed that has the symbol."""
        if feed is not None:
            return _feeds(feed)[0]
        if symbol not in self._feed_of:
            rows = self._background.run(self._latest([symbol], FEEDS))
            if not rows:
                raise self._unknown([symbol])
            # Kept: a symbol does not move to another feed, and the search costs a request per feed.
            self._feed_of[symbol] = _feeds(rows[0]["feed"])[0]
        return self._feed_of[symbol]

    def _unknown(self, symbols: Sequence[str]) -> PipelineError:
        names = self.symbols()
        close = [match for name in symbols for match in difflib.get_close_matches(name, names, n=2)]
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        return PipelineError(
            f"no feed has a value of {', '.join(symbols[:5])}",
            fix=f"{hint}`pipeline.symbols()` lists the symbols",
        )


def _names(symbols: Symbols) -> list[str]:
    return [symbols] if isinstance(symbols, str) else list(dict.fromkeys(symbols))


def _feeds(name: str | None) -> Sequence[Feed]:
    """Return the feed of that name, or all of them."""
    chosen = [spec for spec in FEEDS if name in (None, spec.name)]
    if not chosen:
        names = ", ".join(spec.name for spec in FEEDS)
        raise PipelineError(f"no feed {name!r}", fix=f"one of {names}")
    return chosen

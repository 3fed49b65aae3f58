"""A pipeline as a notebook sees it: frames of what it collected, and its live actors."""

import difflib
from collections.abc import Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Literal

from ray_pipeline.errors import PipelineError
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.notebook import shapes
from ray_pipeline.notebook.actors import Actors, Cluster
from ray_pipeline.notebook.background import Background
from ray_pipeline.notebook.frames import Form, Frame, Look, Numbers, Row, frame
from ray_pipeline.notebook.paging import PAGE_ROWS, Moment, between, moment
from ray_pipeline.notebook.row_source import Source
from ray_pipeline.stream.bars import INTERVALS
from ray_pipeline.timestamps import nearest_of_ms

Symbols = str | Iterable[str]
Part = Literal["feeds", "shards", "consumers", "dead_letters", "uncovered"]
USUAL_LIMIT = 10_000


class Pipeline:
    """
    What was collected, and the actors that collect.

    Every method that returns rows takes `as_` ("pandas" or "arrow") and, where there are prices,
    `numbers` ("float", or "decimal" for every digit that the provider wrote). Times are UTC. The
    methods wait for their answer, also inside a running event loop. All raise Unavailable while
    nothing answers, with what to do about it.
    """

    def __init__(self, background: Background, source: Source, cluster: Cluster) -> None:
        """Take what `connect` made."""
        self._background = background
        self._source = source
        self._cluster = cluster
        self._feed_of: dict[str, Feed] = {}
        self._where = background.run(source.open())

    def __repr__(self) -> str:
        simulated = self._source.simulated
        note = f"; SIMULATED: {', '.join(simulated)}" if simulated else ""
        return f"<Pipeline of {self._where}{note}>"

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
        """Close every connection; what was returned stays."""
        self._background.run(self._source.close())
        self._cluster.leave()
        self._background.close()

    @property
    def simulated(self) -> tuple[str, ...]:
        """What of it is not real."""
        return self._source.simulated

    @property
    def producers(self) -> Actors:
        """
        The producers that live at this moment, by name such as `sp500-01`.

        Raises:
            PipelineError: If no Ray cluster can be joined.
        """
        return self._cluster.actors("producer")

    @property
    def consumers(self) -> Actors:
        """The consumers that live at this moment, by name such as `sp500-0`; as `producers`."""
        return self._cluster.actors("consumer")

    def symbols(self, feed: str | None = None) -> list[str]:
        """Return the symbols of which there is a value, of one feed or of all, in order."""
        found = [self._background.run(self._source.symbols(spec)) for spec in _feeds(feed)]
        return sorted(set().union(*found))

    def latest(
        self,
        symbols: Symbols | None = None,
        *,
        feed: str | None = None,
        as_: Form = "pandas",
        numbers: Numbers = "float",
    ) -> Frame:
        """
        Return latest values by symbol: of these, or of all; a row for each feed that has one.

        Raises:
            PipelineError: If no feed has a value of any of these symbols.
        """
        look = Look(as_, numbers)
        wanted = None if symbols is None else _names(symbols)
        rows = self._background.run(self._latest(wanted, _feeds(feed)))
        if wanted and not rows:
            raise self._unknown(wanted)
        return frame(rows, shapes.LATEST, look)

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
        Return a symbol's records by event time, from `start` up to, and without, `end`.

        With `start` these are the first `limit` records from there on, without it the newest ones;
        in both cases the oldest is first. Without `feed` it is the feed that has the symbol.

        Raises:
            PipelineError: If no feed has the symbol, or a time is none.
        """
        look, spec = Look(as_, numbers), self._feed(symbol, feed)
        column = shapes.event_column(spec)
        rows = self._background.run(
            between(
                lambda reading: self._source.history(spec, reading),
                symbol,
                start=moment(start, "start"),
                end=moment(end, "end"),
                limit=limit,
                when=lambda row: nearest_of_ms(row[column]),
            )
        )
        timed = [{**row, shapes.EVENT_TIME: nearest_of_ms(row[column])} for row in rows]
        return frame(timed, shapes.history(spec), look)

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
        Return a symbol's bars of 1s, 1m, 5m or 1h by their start; times as `history` has them.

        Raises:
            PipelineError: If no feed has the symbol, or there are no bars of that interval.
        """
        if interval not in INTERVALS:
            raise PipelineError(f"no bars of {interval!r}", fix=f"one of {', '.join(INTERVALS)}")
        look, spec = Look(as_, numbers), self._feed(symbol, feed)
        rows = self._background.run(
            between(
                lambda reading: self._source.bars(spec, reading, interval=interval),
                symbol,
                start=moment(start, "start"),
                end=moment(end, "end"),
                limit=limit,
                when=lambda row: _time_of(row["start_at"]),
            )
        )
        return frame(rows, shapes.BARS, look)

    def gaps(self, feed: str | None = None, limit: int = 1_000, *, as_: Form = "pandas") -> Frame:
        """Return what could not be collected, of a feed or of all: the newest first."""
        name = None if feed is None else _feeds(feed)[0].name
        look = Look(as_)
        return frame(self._background.run(self._gaps(name, limit)), shapes.GAPS, look)

    def jobs(self, *, as_: Form = "pandas") -> Frame:
        """Return every batch dataset by name: when it runs, and how its newest run went."""
        look = Look(as_)
        rows = self._background.run(self._source.jobs())
        # A job that never ran has no run to take a state from.
        return frame([{**(row["last"] or {}), **row} for row in rows], shapes.JOBS, look)

    def runs(self, job: str | None = None, limit: int = 100, *, as_: Form = "pandas") -> Frame:
        """Return the newest runs, of a job or of all: state, calls, rows, and why."""
        look = Look(as_)
        return frame(self._background.run(self._source.runs(job, limit=limit)), shapes.RUNS, look)

    def quotas(self, *, as_: Form = "pandas") -> Frame:
        """Return what every key has used and has left; keys by their fingerprints."""
        look = Look(as_)
        return frame(self._background.run(self._source.quotas()), shapes.QUOTAS, look)

    def status(self, part: Part = "feeds", *, as_: Form = "pandas") -> Frame:
        """
        Return how the streams are: `feeds`, `shards`, `consumers`, `dead_letters` or `uncovered`.

        `records_per_s` is since the last time this was asked for; the API knows it at once.

        Raises:
            PipelineError: If there is no such part.
        """
        if part not in shapes.STATUS:
            raise PipelineError(f"no part {part!r}", fix=f"one of {', '.join(shapes.STATUS)}")
        look = Look(as_)
        tables = self._background.run(self._source.status())
        return frame(tables[part], shapes.STATUS[part], look)

    async def _latest(self, wanted: Sequence[str] | None, specs: Sequence[Feed]) -> list[Row]:
        rows: list[Row] = []
        for spec in specs:
            names = await self._source.symbols(spec) if wanted is None else wanted
            rows += [
                {
                    **value,
                    "feed": spec.name,
                    shapes.EVENT_TIME: nearest_of_ms(value["event_time_ms"]),
                }
                for value in await self._source.latest(spec, names)
            ]
        return rows

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
        """Return the feed that was named, or else the first one that has the symbol."""
        if feed is not None:
            return _feeds(feed)[0]
        if symbol not in self._feed_of:
            rows = self._background.run(self._latest([symbol], FEEDS))
            if not rows:
                raise self._unknown([symbol])
            self._feed_of[symbol] = _feeds(rows[0]["feed"])[0]
        return self._feed_of[symbol]

    def _unknown(self, symbols: Sequence[str]) -> PipelineError:
        close = [
            one for name in symbols for one in difflib.get_close_matches(name, self.symbols(), n=2)
        ]
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        return PipelineError(
            f"no feed has a value of {', '.join(symbols[:5])}",
            fix=f"{hint}`pipeline.symbols()` lists what there is",
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


def _time_of(value: datetime | str) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value

"""
A producer: one shard of one feed, under a lease, into an outbox.

Each lease has its own epoch. At its end the producer stops reading, drains the outbox and releases
the lease, in this order. The next holder reports the time between as a gap.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime

from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.foreign_text import foreign_text
from ray_pipeline.stream.heartbeat import BEAT_S, Beat, beat, clock_trouble
from ray_pipeline.stream.ingest import NoticeWriter, Origin
from ray_pipeline.stream.outbox_port import OutboxStatus
from ray_pipeline.stream.producer_ports import Identity, Line, Parts, RunnableOutbox, Symbols
from ray_pipeline.stream.venue_connection import NO_SYMBOLS, Collector
from ray_pipeline.tasks import first_of

log = logging.getLogger(__name__)

HALT_S = 5.0  # for an outbox to end by itself
EMPTY = OutboxStatus(published=0, pending=0, spooled=0, safe_at=None)


class Producer:
    """Collects while it holds the lease, and otherwise waits for it; without a key, says so."""

    def __init__(self, identity: Identity, parts: Parts) -> None:
        self._identity = identity
        self._parts = parts
        self._stopping = asyncio.Event()
        self._drain_s = parts.drain_s
        self._running: asyncio.Task[None] | None = None
        self._paused = False
        self._desired: Symbols | None = None
        self._forced: Symbols | None = None
        self._epoch = 0
        self._outbox: RunnableOutbox | None = None
        self._notices: NoticeWriter | None = None
        self._line: Line | None = None
        self._state = "waiting"
        self._cause = ""

    def __repr__(self) -> str:
        return f"Producer({self._identity.feed}/{self._identity.shard:02d})"

    async def run(self) -> None:
        """Collect until `stop`. After a lost lease or a failure, start again."""
        self._running = asyncio.current_task()
        while not self._stopping.is_set():
            try:
                await self._tenure()
            except Exception as error:
                # A bug must not end a shard: report it and start again.
                self._set("failed", _named(error))
                log.exception("%s failed", self._identity.name)
                await first_of(asyncio.sleep(self._parts.backoff.next_s()), self._stop_sign())
        self._set("stopped", "")
        await self._parts.close()

    async def stop(self, *, drain_s: float) -> None:
        """Stop reading, wait up to `drain_s` for unpublished records, release the lease."""
        self._drain_s = drain_s
        self._stopping.set()
        if self._running is not None and self._running is not asyncio.current_task():
            await asyncio.wait([self._running])

    def pause(self) -> None:
        """Disconnect until `resume`. The time is reported as a gap."""
        self._paused = True
        if self._line is not None:
            self._line.collector.pause()

    def resume(self) -> None:
        """Continue after a pause."""
        self._paused = False
        if self._line is not None:
            self._line.collector.resume()

    def set_symbols(self, symbols: Mapping[str, str | None]) -> None:
        """Collect these symbols instead of the source's. An empty mapping restores the source."""
        self._forced = dict(symbols) or None
        self._want()

    def resubscribe(self, symbols: Sequence[str] | None) -> list[str]:
        """Subscribe again to these or to all symbols; return the symbols that are wanted."""
        return self._line.collector.resubscribe(symbols) if self._line is not None else []

    def status(self) -> dict[str, object]:
        """Return the values of a heartbeat, and counts of this process."""
        counts = self._notices.counts if self._notices else None
        return asdict(self._beat()) | {
            "pending": self._outbox.status().pending if self._outbox else 0,
            "rejects": counts.rejects if counts else 0,
            "unsubscribed": counts.unsubscribed if counts else 0,
            "valid": self._parts.ownership.valid(),
            "paused": self._paused,
        }

    async def _stop_sign(self) -> None:
        await self._stopping.wait()

    async def _wanted_sign(self) -> None:
        await self._parts.ownership.requested.wait()

    async def _tenure(self) -> None:
        """Take the lease, use it until it is lost, requested or not needed, and release it."""
        ownership, make_line = self._parts.ownership, self._parts.line
        if make_line is None:
            await self._report_missing()
            return
        self._set("waiting", "")
        try:
            await first_of(_ignore(ownership.take()), self._stop_sign())
            if ownership.lease is not None:
                await self._use(ownership.lease.epoch, make_line)
        finally:
            self._parts.let_go()
            await ownership.release()

    async def _report_missing(self) -> None:
        """
        Report until the stop why this producer cannot collect.

        It takes no lease: an instance of any generation that has the key must be able to collect.
        Its heartbeats have the epoch 0, which no lease has.
        """
        self._epoch = 0
        self._set("no_key", self._parts.missing)
        await first_of(beat(self._parts.beats, self._beat), self._stop_sign())
        await self._last_beat("stopped", self._parts.missing)

    async def _use(self, epoch: int, make_line: Callable[[NoticeWriter], Line]) -> None:
        """Work under a lease. The lease is renewed until the outbox is drained."""
        self._epoch, self._outbox, self._notices, self._line = epoch, None, None, None
        ownership = self._parts.ownership
        state, cause = "lost", "the producer was interrupted"
        try:
            # A failure of any task ends the others, and is raised.
            await first_of(
                ownership.hold(), beat(self._parts.beats, self._beat), self._work(make_line)
            )
            state, cause = ("lost", ownership.cause) if ownership.lost.is_set() else ("stopped", "")
        except Exception as error:
            state, cause = "failed", _named(error)
            raise
        finally:
            await self._last_beat(state, cause)

    async def _work(self, make_line: Callable[[NoticeWriter], Line]) -> None:
        """Collect until the end, then drain the outbox. If cancelled, keep the spool."""
        outbox = self._parts.outbox(self._epoch, self._parts.ownership.valid)
        halt = asyncio.Event()
        sending = asyncio.create_task(outbox.run(halt))
        try:
            await first_of(
                self._collect(outbox, make_line),
                self._stop_sign(),
                self._wanted_sign(),
                _ignore(asyncio.shield(sending)),
            )
            self._set("draining", "")
            if self._line is not None:
                self._line.collector.close_gaps(to_at=self._parts.clock.now())
            await first_of(_ignore(outbox.drain(self._drain_s)), _ignore(asyncio.shield(sending)))
        finally:
            halt.set()
            await asyncio.wait([sending], timeout=HALT_S)
            sending.cancel()
            (failure,) = await asyncio.gather(sending, return_exceptions=True)
            if isinstance(failure, Exception):
                # After a lost lease no caller receives it, and records may not be on disk.
                log.error("%s: the outbox failed: %s", self._identity.name, _named(failure))

    async def _collect(
        self, outbox: RunnableOutbox, make_line: Callable[[NoticeWriter], Line]
    ) -> None:
        safe_at = await self._last_safe_at()
        self._outbox = outbox
        self._notices = NoticeWriter(outbox, self._origin())
        self._line = line = make_line(self._notices)
        if safe_at is not None:
            line.collector.gaps.open("producer_down", "no producer was running", from_at=safe_at)
        if self._paused:
            line.collector.pause()
        self._set("", "")
        self._want()
        tasks = [line.collector.run(), self._follow_symbols(line.collector)]
        if line.poller is not None:
            tasks.append(line.poller.run())
        await first_of(*tasks)

    def _origin(self) -> Origin:
        return Origin(self._identity.shard, self._identity.name)

    async def _last_safe_at(self) -> datetime | None:
        """Return when collecting stopped in the previous epoch; wait out an outage of Postgres."""
        while True:
            try:
                return await self._parts.beats.last_safe_at(
                    self._identity.feed, self._identity.shard, before_epoch=self._epoch
                )
            except DatabaseUnavailable as error:
                self._set("waiting", str(error))
                await asyncio.sleep(BEAT_S)

    async def _follow_symbols(self, collector: Collector) -> None:
        """Read the symbols except during a pause: some sources call the venue's REST API."""
        while True:
            await collector.until_resumed()
            await first_of(self._read_symbols(), collector.until_paused())

    async def _read_symbols(self) -> None:
        async for symbols in self._parts.symbols.updates():
            self._desired = symbols
            self._want()

    def _want(self) -> None:
        symbols = self._forced or self._desired
        if self._line is not None and symbols is not None:
            self._line.collector.want(symbols)

    def _set(self, state: str, cause: str) -> None:
        """Set the state. If it is empty, the state of the collector is reported."""
        self._state, self._cause = state, cause

    async def _last_beat(self, state: str, cause: str) -> None:
        self._set(state, cause)
        stopped_at = self._parts.clock.now() if state == "stopped" else None
        last = replace(self._beat(), stopped_at=stopped_at)
        try:
            await self._parts.beats.write(last)
        except DatabaseUnavailable as error:
            log.warning("%s: the last heartbeat is missing: %s", self._identity.name, error)

    def _beat(self) -> Beat:
        line, notices = self._line, self._notices
        outbox = self._outbox.status() if self._outbox else EMPTY
        collector = line.collector if line else None
        state, cause = self._situation(collector, outbox)
        return Beat(
            feed=self._identity.feed,
            shard=self._identity.shard,
            epoch=self._epoch,
            holder=self._identity.holder,
            published=outbox.published,
            spooled=outbox.spooled,
            connected=collector.connected if collector else False,
            state=state,
            # Parts of it come from the venue, and Postgres must be able to store it.
            cause=foreign_text(cause),
            wanted=len(collector.subscriptions.desired) if collector else 0,
            confirmed=collector.subscriptions.confirmed if collector else 0,
            received=notices.counts.records if notices else 0,
            reconnects=max(collector.connections - 1, 0) if collector else 0,
            last_data_at=notices.counts.last_data_at if notices else None,
            safe_at=self._safe_at(outbox),
        )

    def _safe_at(self, outbox: OutboxStatus) -> datetime | None:
        """
        Return until when everything that the venue sent is acknowledged, or in a gap.

        Everything received may be acknowledged while the venue's frames do not arrive, so the
        outbox alone cannot tell. None before the first connection.
        """
        if self._line is None:
            return outbox.safe_at
        collector = self._line.collector
        moments = (outbox.safe_at, collector.gaps.since(), collector.complete_until)
        return min((moment for moment in moments if moment is not None), default=None)

    def _situation(self, collector: Collector | None, outbox: OutboxStatus) -> tuple[str, str]:
        """Return the state and the first cause, in the order feed, lease, broker, REST API."""
        ownership_cause = self._parts.ownership.cause
        if self._state or collector is None:
            return self._state, self._cause or ownership_cause
        poller_cause = self._line.poller.cause if self._line and self._line.poller else ""
        symbols_cause = self._parts.symbols.cause
        if collector.state == NO_SYMBOLS and symbols_cause:
            return collector.state, symbols_cause  # it says more than the state does
        causes = (collector.cause, ownership_cause, outbox.cause, poller_cause, symbols_cause)
        # A wrong clock can be behind any of them, or make records wrong without another cause.
        clock_cause = clock_trouble(self._parts.beats.clock_ahead_s)
        cause = "; ".join(filter(None, (next(filter(None, causes), ""), clock_cause)))
        return collector.state, cause


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


async def _ignore(awaitable: Awaitable[object]) -> None:
    await awaitable

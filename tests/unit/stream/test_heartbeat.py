"""Heartbeats: one a second, skipped while Postgres is away."""

import asyncio
from datetime import datetime

import pytest

from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.stream.heartbeat import BEAT_S, Beat, beat
from tests.fake_feed import running
from tests.virtual_time import now_s, virtual_time


def make_beat() -> Beat:
    """Return a heartbeat with the current time in its cause."""
    return Beat(
        feed="sp500", shard=3, epoch=1, holder="test", published=0, spooled=0, connected=True,
        state="collecting", cause=f"at {now_s():g} s", wanted=1, confirmed=1, received=0,
        reconnects=0, last_data_at=None, safe_at=None,
    )  # fmt: skip


class FakeStore:
    """Keeps what is written, unless it is away."""

    clock_ahead_s = 0.0

    def __init__(self) -> None:
        self.causes: list[str] = []
        self.failure: Exception | None = None
        self.attempts = 0

    async def write(self, row: Beat) -> None:
        self.attempts += 1
        if self.failure is not None:
            raise self.failure
        self.causes.append(row.cause)

    async def last_safe_at(self, feed: str, shard: int, *, before_epoch: int) -> datetime | None:
        raise AssertionError("a heartbeat does not read")


@virtual_time
async def test_every_second_the_state_of_that_moment_is_written():
    store = FakeStore()
    async with running(beat(store, make_beat)):
        await asyncio.sleep(2.5 * BEAT_S)

    assert store.causes == ["at 0 s", "at 1 s", "at 2 s"]


@virtual_time
async def test_an_outage_is_skipped_and_logged_once(caplog):
    """A heartbeat is a state: an old one is worthless, so none is written later."""
    store = FakeStore()
    async with running(beat(store, make_beat)):
        await asyncio.sleep(0.5)
        store.failure = DatabaseUnavailable("it does not answer")
        await asyncio.sleep(5)
        assert store.attempts == 6
        store.failure = None
        await asyncio.sleep(1)

    assert store.causes == ["at 0 s", "at 6 s"]
    assert caplog.messages == ["heartbeats are skipped: it does not answer"]


@virtual_time
async def test_the_next_outage_is_logged_again(caplog):
    store = FakeStore()
    async with running(beat(store, make_beat)):
        for _ in range(2):
            store.failure = DatabaseUnavailable("it does not answer")
            await asyncio.sleep(2)
            store.failure = None
            await asyncio.sleep(2)

    assert len(caplog.messages) == 2


@virtual_time
async def test_another_error_ends_the_heartbeats():
    """A bug must end the tenure, not hide behind a state that is never updated."""
    store = FakeStore()
    store.failure = KeyError("a bug")

    with pytest.raises(KeyError):
        await beat(store, make_beat)

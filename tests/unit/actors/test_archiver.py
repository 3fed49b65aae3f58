"""The archiver actor, as a plain class: one archiver for each feed, one end for all."""

import asyncio
import os
from pathlib import Path

import pytest

from ray_pipeline import settings
from ray_pipeline.actors import archiver
from ray_pipeline.actors.archiver import ArchiverActor, archive_dir
from ray_pipeline.feeds.feed_registry import FEEDS
from tests.virtual_time import now_s, until_s, virtual_time


class FakeArchiver:
    """Archives one feed; `flush_s` is the duration of its end."""

    flush_s = 0.0

    def __init__(self, _settings, spec, *, directory: Path) -> None:
        self.feed, self.directory = spec.name, directory
        self.cause = ""
        self.state = "new"
        self.failure: Exception | None = None

    async def run(self, stop: asyncio.Event) -> None:
        if self.failure is not None:
            raise self.failure
        self.state = "running"
        await stop.wait()
        await asyncio.sleep(self.flush_s)
        self.state = "flushed"


class Bench:
    """What an actor created, and the codes with which the process would have ended."""

    def __init__(self) -> None:
        self.archivers: list[FakeArchiver] = []
        self.exit_codes: list[int] = []

    def create(self, *arguments, **options) -> FakeArchiver:
        self.archivers.append(FakeArchiver(*arguments, **options))
        return self.archivers[-1]

    @property
    def states(self) -> set[str]:
        return {fake.state for fake in self.archivers}


@pytest.fixture
def bench(monkeypatch):
    created = Bench()
    monkeypatch.setattr(archiver, "Archiver", created.create)
    monkeypatch.setattr(os, "_exit", created.exit_codes.append)
    return created


@virtual_time
async def test_it_archives_every_feed_from_its_construction_on(bench, tmp_path):
    actor = ArchiverActor(settings.load(archive={"dir": tmp_path}))
    await until_s(1)

    assert [fake.feed for fake in bench.archivers] == [spec.name for spec in FEEDS]
    assert {fake.directory for fake in bench.archivers} == {tmp_path}
    assert bench.states == {"running"}
    assert await actor.stop(1.0)


@virtual_time
async def test_the_status_says_why_a_feed_waits(bench):
    actor = ArchiverActor(settings.load())
    bench.archivers[1].cause = "kafka does not answer"

    status = await actor.status()

    waiting = {feed: cause for feed, cause in status["causes"].items() if cause}
    assert waiting == {FEEDS[1].name: "kafka does not answer"}
    assert status["causes"].keys() == {spec.name for spec in FEEDS}
    assert await actor.stop(1.0)


@virtual_time
async def test_a_stop_writes_what_was_read(bench):
    actor = ArchiverActor(settings.load())
    for fake in bench.archivers:
        fake.flush_s = 3.0
    await until_s(1)

    assert await actor.stop(10.0)
    assert bench.states == {"flushed"}
    assert now_s() == 4


@virtual_time
async def test_a_stop_that_takes_too_long_says_so(bench):
    """The files are not lost: the archive keeps its own position."""
    actor = ArchiverActor(settings.load())
    bench.archivers[0].flush_s = 1_000.0
    await until_s(1)

    assert not await actor.stop(10.0)
    assert now_s() == 11


@virtual_time
async def test_the_failure_of_one_feed_ends_the_process(bench):
    """Otherwise this feed would never be archived again. Ray restarts the actor."""
    ArchiverActor(settings.load())
    bench.archivers[0].failure = RuntimeError("a bug")
    await until_s(1)

    assert bench.exit_codes == [1]


def test_the_archive_is_in_the_home_unless_a_setting_moves_it(tmp_path):
    assert archive_dir(settings.load(home=tmp_path)) == tmp_path / "archive"
    moved = settings.load(home=tmp_path, archive={"dir": tmp_path / "elsewhere"})
    assert archive_dir(moved) == tmp_path / "elsewhere"

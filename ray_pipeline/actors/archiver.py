"""The archive as an actor: it reads every topic on its own and writes Parquet files."""

import asyncio
import contextlib
import os
from pathlib import Path

from ray_pipeline.actors.producer import leave
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.settings import Settings
from ray_pipeline.storage.archive_writer import Archiver


def archive_dir(settings: Settings) -> Path:
    """Return where the archive is."""
    return settings.archive.dir or settings.home_dir() / "archive"


class ArchiverActor:
    """Gives the archive of all feeds a process and a mailbox."""

    def __init__(self, settings: Settings) -> None:
        self._stop = asyncio.Event()
        directory = archive_dir(settings)
        self._archivers = [Archiver(settings, spec, directory=directory) for spec in FEEDS]
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(leave)

    def __repr__(self) -> str:
        return "Archiver(all feeds)"

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for archiver in self._archivers:
                group.create_task(archiver.run(self._stop))

    async def status(self) -> dict[str, object]:
        """Return what each feed's archive waits for, empty where it does not."""
        causes = {
            spec.name: archiver.cause for spec, archiver in zip(FEEDS, self._archivers, strict=True)
        }
        return {"pid": os.getpid(), "causes": causes}

    async def stop(self, drain_s: float) -> bool:
        """Write what has been read; False if that took too long."""
        self._stop.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._task), drain_s)
        return self._task.done()

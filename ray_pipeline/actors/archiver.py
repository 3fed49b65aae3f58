"""The archive as an actor: it reads every topic and writes Parquet files."""

import asyncio
import os
from pathlib import Path

from ray_pipeline.actors.producer import exit_on_failure
from ray_pipeline.settings import Settings
from ray_pipeline.storage.archive_writer import Archiver


def archive_dir(settings: Settings) -> Path:
    """Return where the archive is."""
    return settings.archive.dir or settings.home_dir() / "archive"


class ArchiverActor:
    """Archives all feeds from its construction on."""

    def __init__(self, settings: Settings) -> None:
        self._stop = asyncio.Event()
        directory = archive_dir(settings)
        self._archivers = {
            spec.name: Archiver(settings, spec, directory=directory)
            for spec in settings.enabled_feeds()
        }
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(exit_on_failure)

    def __repr__(self) -> str:
        return "Archiver(all feeds)"

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for archiver in self._archivers.values():
                group.create_task(archiver.run(self._stop))

    async def status(self) -> dict[str, object]:
        """Return why each feed's archive waits, by feed; empty while it writes."""
        causes = {name: archiver.cause for name, archiver in self._archivers.items()}
        return {"pid": os.getpid(), "causes": causes}

    async def stop(self, drain_s: float) -> bool:
        """Write what was read; return False if that took too long."""
        self._stop.set()
        done, _ = await asyncio.wait({self._task}, timeout=drain_s)
        return bool(done)

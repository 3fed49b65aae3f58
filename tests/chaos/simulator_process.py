"""The process of the venue or of the providers, with its log and its faults."""

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.chaos.processes import environment

END_S = 10.0


@dataclass(slots=True)
class SimulatorProcess:
    """A running simulator; its log is complete after `end`."""

    process: "subprocess.Popen[str]"
    port: int
    control_url: str

    async def control(self, action: str, **arguments: object) -> None:
        """Switch a fault of the venue."""
        await self._post(f"{self.control_url}/{action}", arguments)

    async def fault(self, provider: str, kind: str, **arguments: object) -> None:
        """Switch a fault of a provider; `clear` ends it."""
        await self._post(self.control_url, {"provider": provider, "fault": kind, **arguments})

    async def sent(self) -> int:
        """Return how many trades the venue has written to sockets."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.control_url}/stats") as response,
        ):
            return int((await response.json())["sent"])

    async def _post(self, url: str, body: dict[str, object]) -> None:
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
            response.raise_for_status()

    async def end(self) -> None:
        """Request an orderly end."""
        await asyncio.to_thread(self.end_now)

    def end_now(self) -> None:
        """Request an orderly end, and wait for it."""
        self.process.terminate()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def start_simulator(module: str, directory: Path, *arguments: str) -> SimulatorProcess:
    """
    Start a module that prints its addresses as a line of JSON.

    Raises:
        RuntimeError: If it ends at once; its output is in the directory.
    """
    log = directory / f"{module}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", f"tests.chaos.{module}", str(directory), *arguments],
            env=environment({}), cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=output, text=True, start_new_session=True,
        )  # fmt: skip
    assert process.stdout is not None
    addresses = json.loads(process.stdout.readline() or "{}")
    if not addresses:
        process.wait()
        raise RuntimeError(f"tests.chaos.{module} did not start; read {log}")
    return SimulatorProcess(process, addresses["port"], addresses["control_url"])

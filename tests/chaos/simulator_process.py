"""The process of the venue or of the providers, with its log and its faults."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.chaos.processes import environment
from tests.support import next_line

END_S = 10.0
ANSWER = aiohttp.ClientTimeout(total=60)  # a fault may suspend the simulator for 14 s


@dataclass(slots=True)
class SimulatorProcess:
    """
    The process of running simulators; their logs are complete after `end`.

    Attributes:
        ports, control_urls: Of each simulator, by its name.
    """

    process: "subprocess.Popen[str]"
    ports: Mapping[str, int]
    control_urls: Mapping[str, str]

    async def control(self, action: str, *, venue: str = "", **arguments: object) -> None:
        """Switch a fault of one venue, or of all venues."""
        for name, url in self.control_urls.items():
            if venue in ("", name):
                await self._post(f"{url}/{action}", arguments)

    async def fault(self, provider: str, kind: str, **arguments: object) -> None:
        """Switch a fault of a provider; `clear` ends it."""
        (url,) = self.control_urls.values()
        await self._post(url, {"provider": provider, "fault": kind, **arguments})

    async def sent(self) -> int:
        """Return how many records the venues have written to sockets."""
        count = 0
        async with aiohttp.ClientSession(timeout=ANSWER) as session:
            for url in self.control_urls.values():
                async with session.get(f"{url}/stats") as response:
                    count += int((await response.json())["sent"])
        return count

    async def _post(self, url: str, body: dict[str, object]) -> None:
        async with (
            aiohttp.ClientSession(timeout=ANSWER) as session,
            session.post(url, json=body) as response,
        ):
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
            self.process.wait(END_S)
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
    addresses = json.loads(next_line(process, f"the addresses of tests.chaos.{module}") or "{}")
    if not addresses:
        process.wait(END_S)
        raise RuntimeError(f"tests.chaos.{module} did not start; read {log}")
    return SimulatorProcess(process, addresses["ports"], addresses["control_urls"])

"""Headless Chromium by its own protocol: enough to open a page, ask it, press keys, and look."""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from tests.support import eventually

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_S = 60.0
ANSWER_S = 30.0


def executable() -> str | None:
    """Return where Chromium is, None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab: what it asked for, what it complained of, and what is in it."""

    def __init__(self, wire: ClientConnection) -> None:
        self._wire = wire
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict]] = {}
        self.requests: list[str] = []
        self.complaints: list[str] = []

    async def listen(self) -> None:
        """Hear answers and events, for ever."""
        async for text in self._wire:
            message = json.loads(text)
            if "id" in message:
                self._answers.pop(message["id"]).set_result(message)
            else:
                self._note(message["method"], message["params"])

    def _note(self, method: str, facts: dict) -> None:
        if method in {"Network.requestWillBeSent", "Network.webSocketCreated"}:
            self.requests.append(facts["request"]["url"] if "request" in facts else facts["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(facts["exceptionDetails"]))
        elif method == "Log.entryAdded" and facts["entry"]["level"] == "error":
            self.complaints.append(facts["entry"]["text"])

    async def call(self, method: str, **parameters: object) -> dict:
        """Return the answer to a command."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._wire.send(json.dumps({"id": number, "method": method, "params": parameters}))
        found = await asyncio.wait_for(answer, ANSWER_S)
        assert "error" not in found, found
        return found["result"]

    async def ask(self, expression: str) -> object:
        """Return what JavaScript finds; promises are awaited."""
        found = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def text(self, selector: str) -> str:
        """Return the text of the first element; empty where there is none."""
        name = json.dumps(selector)
        return str(await self.ask(f"document.querySelector({name})?.innerText ?? ''"))

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def size(self, width: int, height: int) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    async def scheme(self, name: str) -> None:
        """Prefer light or dark."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def press(self, *keys: str) -> None:
        """Press keys such as Tab, Enter, ArrowRight."""
        codes = {"Tab": 9, "Enter": 13, "ArrowRight": 39, "End": 35}
        for key in keys:
            facts = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
            text = {"text": "\r"} if key == "Enter" else {}
            await self.call("Input.dispatchKeyEvent", type="keyDown", **facts, **text)
            await self.call("Input.dispatchKeyEvent", type="keyUp", **facts)

    async def picture(self) -> bytes:
        """Return what is seen, a PNG."""
        found = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(found["data"])


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Page]:
    """Start Chromium with a profile of its own, yield a tab, end all of its processes."""
    program = executable()
    assert program is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--disable-background-networking", "--remote-debugging-port=0",
            f"--user-data-dir={profile}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            async with _attached(Path(profile)) as page:
                yield page
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.wait_for(process.wait(), ANSWER_S)


@contextlib.asynccontextmanager
async def _attached(profile: Path) -> AsyncIterator[Page]:
    port_file = profile / "DevToolsActivePort"
    await eventually(
        lambda: port_file.exists() and len(port_file.read_text().splitlines()) == 2,
        timeout_s=START_S,
        what="Chromium",
    )
    port, path = port_file.read_text().splitlines()
    async with connect(f"ws://127.0.0.1:{port}{path}", max_size=None) as browser:
        await browser.send(
            json.dumps({"id": 1, "method": "Target.createTarget", "params": {"url": "about:blank"}})
        )
        async with asyncio.timeout(ANSWER_S):
            while "result" not in (answer := json.loads(await browser.recv())):
                pass
    target = answer["result"]["targetId"]
    async with connect(f"ws://127.0.0.1:{port}/devtools/page/{target}", max_size=None) as wire:
        page = Page(wire)
        listening = asyncio.create_task(page.listen())
        for domain in ("Page", "Runtime", "Network", "Log"):
            await page.call(f"{domain}.enable")
        try:
            yield page
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

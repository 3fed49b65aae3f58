"""An event loop of our own: a notebook's cells run inside one that must not be waited in."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """A thread with an event loop; whoever calls waits, and nothing else does."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        # Daemonic: a notebook that forgets to close it can end nevertheless.
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="ray-pipeline notebook", daemon=True
        )
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do some work and return its result; an interrupt of the caller cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the thread. Nothing can be run any more."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

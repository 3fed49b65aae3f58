"""
The limiter as a process: the shared ledger behind a socket, as the limiter actor has a mailbox.

A request is a pickled call of a method, and its answer a pickled value or an outage. Both ends
belong to the run, so unpickling is safe.
"""

import asyncio
import pickle
import struct
from datetime import datetime

from ray_pipeline.batch.permits import NotBefore, Pause, Permit
from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.local.ports import HOST
from ray_pipeline.settings import Settings
from ray_pipeline.storage.listener import listen
from ray_pipeline.storage.postgres.shared_ledger import SharedLedger

ANSWER_S = 30.0  # as `actors.remote_limiter` waits
LENGTH = struct.Struct("I")


class LimiterServer:
    """Answers calls with the ledger."""

    def __init__(self, settings: Settings) -> None:
        self._ledger = SharedLedger(
            settings.postgres_dsn(), settings.key_fingerprints(), speed=settings.jobs.speed
        )

    async def serve(self, port: int, stop: asyncio.Event) -> None:
        """Listen until `stop`."""
        server = await asyncio.start_server(self._answer, sock=listen(HOST, port))
        await stop.wait()
        server.close()
        await self._ledger.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            method, arguments, options = await _receive(reader)
            try:
                answer = await getattr(self._ledger, method)(*arguments, **options)
            except DatabaseUnavailable as error:
                answer = error
            _send(writer, answer)
        except (OSError, EOFError):
            pass  # the caller has gone: its permit is lost, which is safe
        finally:
            writer.close()


class LimiterClient:
    """Implements `batch.permits.Limiter` by calls of the limiter's process."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = host, int(port)

    async def acquire(self, provider: str, **options: object) -> Permit | NotBefore:
        """Return a permit, or when to request again."""
        return await self._call("acquire", provider, **options)

    async def finished(self, ids: object) -> None:
        """Note that calls were answered."""
        await self._call("finished", ids)

    async def cooldown(
        self, provider: str, key: str, *, pause: Pause, reason: str
    ) -> datetime | None:
        """Do not permit calls of a key during a pause."""
        return await self._call("cooldown", provider, key, pause=pause, reason=reason)

    async def _call(self, method: str, *arguments: object, **options: object):
        """Call a method; raise DatabaseUnavailable without an answer."""
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_connection(*self._address)
                try:
                    _send(writer, (method, arguments, options))
                    answer = await _receive(reader)
                finally:
                    writer.close()
        except (OSError, EOFError, TimeoutError) as error:
            raise DatabaseUnavailable(
                f"the limiter does not answer: {type(error).__name__}"
            ) from None
        if isinstance(answer, DatabaseUnavailable):
            raise answer
        return answer


def _send(writer: asyncio.StreamWriter, value: object) -> None:
    data = pickle.dumps(value)
    writer.write(LENGTH.pack(len(data)) + data)


async def _receive(reader: asyncio.StreamReader):
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    return pickle.loads(await reader.readexactly(length))

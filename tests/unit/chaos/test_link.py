"""The proxy between two parts."""

import asyncio
import contextlib

import pytest

from tests.chaos.link import HOST, Link
from tests.support import eventually


@contextlib.asynccontextmanager
async def echoing():
    """A link to a server that sends back what it receives."""

    open_connections = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_connections.add(writer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1000):
                writer.write(data)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        open_connections.discard(writer)

    server = await asyncio.start_server(echo, HOST, 0)
    link = Link("test", lambda: (HOST, server.sockets[0].getsockname()[1]))
    await link.open()
    try:
        yield link
    finally:
        await link.close()
        await eventually(lambda: not open_connections, what="the server's connections to end")
        server.close()


@contextlib.asynccontextmanager
async def connected(link: Link):
    """A client of the link."""
    reader, writer = await asyncio.open_connection(HOST, link.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_bytes_pass_in_both_directions():
    """What was sent comes back."""
    async with echoing() as link, connected(link) as (reader, writer):
        writer.write(b"hello")

        assert await reader.readexactly(5) == b"hello"


async def test_a_stall_holds_bytes_back_and_keeps_the_connection():
    """They arrive, complete and in order, when it ends."""
    async with echoing() as link, connected(link) as (reader, writer):
        writer.write(b"a")
        await reader.readexactly(1)
        link.set("stall")
        writer.write(b"bc")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.readexactly(1)
        link.set("pass")

        assert await reader.readexactly(2) == b"bc"


async def test_a_drop_swallows_bytes_and_ends_with_a_cut():
    """A stream with a hole must not continue."""
    async with echoing() as link, connected(link) as (reader, writer):
        writer.write(b"a")
        await reader.readexactly(1)
        link.set("drop")
        writer.write(b"bc")
        await eventually(lambda: link.swallowed_bytes == 2, what="the bytes to be swallowed")
        link.set("pass")

        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""


async def test_a_reset_cuts_connections_and_new_ones():
    """Until the link passes again."""
    async with echoing() as link:
        async with connected(link) as (reader, writer):
            writer.write(b"a")
            await reader.readexactly(1)
            link.set("reset")
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        with contextlib.suppress(ConnectionError):
            async with connected(link) as (reader, _):
                assert await reader.read() == b""
        link.set("pass")
        async with connected(link) as (reader, writer):
            writer.write(b"b")
            assert await reader.readexactly(1) == b"b"


async def test_a_shorter_delay_does_not_reorder_bytes():
    """What waits is never overtaken."""
    async with echoing() as link, connected(link) as (reader, writer):
        link.set("delay", delay_s=0.2)
        writer.write(b"a")
        await eventually(lambda: any(end.waiting for end in link.ends), what="bytes that wait")
        link.set("pass")
        writer.write(b"b")

        assert await reader.readexactly(2) == b"ab"


async def test_a_server_that_is_away_refuses():
    """As it would without the link."""
    link = Link("test", lambda: (HOST, 1))
    await link.open()
    with contextlib.suppress(ConnectionError):
        async with connected(link) as (reader, _):
            assert await reader.read() == b""
    await link.close()

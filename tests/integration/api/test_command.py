"""`ray-pipeline api` as a process of its own."""

import asyncio
import contextlib
import json
import os
import resource
import socket
import sys
from pathlib import Path

import aiohttp
import pytest

from ray_pipeline.cli.api import listen_at
from tests.integration.api.serving import TOKEN
from tests.support import eventually

DEFAULT_PORT = 8000
ANSWER_S = 120.0  # a start imports most of the package
COMMAND = (sys.executable, "-m", "ray_pipeline.cli.main", "api")


@contextlib.asynccontextmanager
async def running(tmp_path, *options: str, before: tuple[str, ...] = (), **environment: str):
    """The command, with its standard streams; ended by its standard input."""
    inherited = {name: value for name, value in os.environ.items() if "PIPELINE" not in name}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *before, *COMMAND, *options, stdin=pipe, stdout=pipe, stderr=pipe, cwd=tmp_path,
        env=inherited | environment,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await asyncio.wait_for(process.communicate(), ANSWER_S)


@pytest.fixture
def stores(postgres_dsn, redis_url):
    """The settings that name this test's stores."""
    return {"PIPELINE_POSTGRES__DSN": postgres_dsn, "PIPELINE_REDIS__URL": redis_url}


async def ends(process) -> tuple[int, str]:
    """End its standard input; return the exit code and what was said on stderr."""
    process.stdin.close()
    _, said = await asyncio.wait_for(process.communicate(), ANSWER_S)
    return process.returncode, said.decode()


async def test_it_serves_until_standard_input_ends(stores, tmp_path):
    """The address and a token of this run only, as JSON; then an end without complaint."""
    options = ("--port", "0", "--until-stdin-ends")
    async with running(tmp_path, *options, **stores) as process:
        found = json.loads(await asyncio.wait_for(process.stdout.readline(), ANSWER_S))
        headers = {"Authorization": f"Bearer {found['token']}"}
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{found['url']}v1/runs", headers=headers) as reply:
                assert reply.status == 200
            async with session.get(f"{found['url']}v1/runs") as reply:
                assert reply.status == 401

        assert await ends(process) == (0, "")


async def test_a_server_that_ran_out_of_file_descriptors_serves_again(stores, tmp_path):
    """Connections hold them all; when they are gone, the next one is accepted."""
    options = ("--port", "0", "--until-stdin-ends")
    few_files = ("sh", "-c", 'ulimit -n 80 && exec "$@"', "sh")
    async with running(tmp_path, *options, before=few_files, **stores) as process:
        found = json.loads(await asyncio.wait_for(process.stdout.readline(), ANSWER_S))
        url = f"{found['url']}live"
        address = found["url"].removeprefix("http://").rstrip("/").split(":")
        async with contextlib.AsyncExitStack() as held:
            for _ in range(150):
                held.enter_context(socket.create_connection(address))
            await eventually(lambda: _open_files(process.pid) >= 80, what="all files to be open")
        await eventually(lambda: _answers(url), what="an answer")


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def _answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as reply:
            return reply.status == 200
    except aiohttp.ClientError:
        return False


async def test_it_opens_as_many_files_as_it_may(stores, tmp_path):
    """Each client is one; the usual limit of 1,024 is below the number of clients."""
    options = ("--port", "0", "--until-stdin-ends")
    few_files = ("sh", "-c", 'ulimit -Sn 80 && exec "$@"', "sh")
    async with running(tmp_path, *options, before=few_files, **stores) as process:
        await asyncio.wait_for(process.stdout.readline(), ANSWER_S)
        soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)

    assert soft == hard


async def test_a_token_that_is_set_is_used_and_never_printed(stores, tmp_path):
    """Whoever set it knows it."""
    options = ("--port", "0", "--until-stdin-ends")
    async with running(tmp_path, *options, **stores, PIPELINE_API__TOKEN=TOKEN) as process:
        line = await asyncio.wait_for(process.stdout.readline(), ANSWER_S)
        found = json.loads(line)
        assert found["token"] is None
        assert TOKEN.encode() not in line
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{found['url']}v1/runs", headers=headers) as reply,
        ):
            assert reply.status == 200


async def test_a_port_that_is_taken_is_told_or_another_is_found(stores, tmp_path):
    """Exit code 2 and what to do; with --any-port it serves elsewhere."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with running(tmp_path, "--port", port, **stores) as process:
            code, said = await ends(process)
        assert code == 2
        assert f"port {port}" in said
        assert "fix:" in said
        options = ("--port", port, "--any-port", "--until-stdin-ends")
        async with running(tmp_path, *options, **stores) as process:
            found = json.loads(await asyncio.wait_for(process.stdout.readline(), ANSWER_S))
            assert f":{port}/" not in found["url"]


async def test_a_taken_port_of_the_settings_is_told(stores, tmp_path):
    """The user named it, and clients look there: another one would help nobody."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with running(tmp_path, **stores, PIPELINE_API__PORT=port) as process:
            code, said = await ends(process)
    assert code == 2
    assert f"port {port}" in said
    assert "fix:" in said


async def test_the_default_port_is_only_preferred(stores, tmp_path):
    """Nobody named it: where another program has it, the API listens elsewhere and says so."""
    with contextlib.ExitStack() as taken:
        with contextlib.suppress(OSError):  # some program of this machine may have it already
            taken.enter_context(socket.create_server(("127.0.0.1", DEFAULT_PORT)))
        async with running(tmp_path, "--until-stdin-ends", **stores) as process:
            found = json.loads(await asyncio.wait_for(process.stdout.readline(), ANSWER_S))
            code, said = await ends(process)
    assert f":{DEFAULT_PORT}/" not in found["url"]
    assert code == 0
    assert f"port {DEFAULT_PORT} is taken" in said


async def test_without_a_store_it_says_which(tmp_path):
    """A setting that is missing is told before anything listens."""
    async with running(tmp_path, "--port", "0") as process:
        code, said = await ends(process)
    assert code == 2
    assert "PIPELINE_POSTGRES__DSN is not set" in said


def test_an_answer_does_not_wait_for_an_acknowledgement():
    """Connections are told to send what they have, whatever the event loop does about it."""
    with (
        listen_at("127.0.0.1", 0, or_any=False) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

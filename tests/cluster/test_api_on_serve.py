"""The API as a Ray Serve application, on a real cluster and real stores."""

import contextlib
import json
import os
import subprocess
import sys

import aiohttp
import psutil
import pytest

from ray_pipeline.local.ports import free_port
from tests.integration.api.serving import SECRET, TOKEN, Client, configure, trade, writing
from tests.integration.api.test_push import listening
from tests.support import eventually_sync

START_S = 120


@pytest.fixture
def on_serve(postgres_dsn, redis_url, tmp_path):
    """The address of an API that Ray Serve runs over this test's stores."""
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o011)
    port = free_port()
    log = tmp_path / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.serve_process", str(tmp_path), str(port)],
            stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {
                "PIPELINE_POSTGRES__DSN": postgres_dsn,
                "PIPELINE_REDIS__URL": redis_url,
                "PIPELINE_API__TOKEN": TOKEN,
                "PIPELINE_API__PUSH_INTERVAL_S": "0.1",
                "PIPELINE_API_KEYS": json.dumps({"finnhub": [SECRET]}),
                "PIPELINE_RAY__NUM_CPUS": "4",
                "RAY_AUTH_MODE": "disabled",
            },
        )  # fmt: skip
    mine = [psutil.Process(process.pid)]
    try:
        eventually_sync(
            lambda: "serving" in log.read_text().splitlines() or process.poll() is not None,
            timeout_s=START_S,
            what="Serve",
        )
        assert process.poll() is None, log.read_text()[-3000:]
        mine += mine[0].children(recursive=True)
        yield f"http://127.0.0.1:{port}"
        process.stdin.close()
        process.wait(60)
    finally:
        # Whatever of it is left, and nothing else.
        for one in mine:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait(30)


async def test_serve_answers_and_pushes_as_uvicorn_does(on_serve, postgres_dsn, redis_url):
    """A value over HTTP, the same over a WebSocket, and neither without the token."""
    configured = configure(postgres_dsn, redis_url)
    async with writing(configured) as writer, aiohttp.ClientSession() as session:
        client = Client(session, on_serve)
        await writer.write(trade(1))

        latest = await client.get("/v1/feeds/sp500/latest/AAPL")
        assert latest["volume"] == 1
        assert (await client.get("/ready"))["ready"] is True
        assert await client.status("/live", headers={}) == 200
        assert await client.status("/v1/runs", headers={}) == 401
        assert await client.status("/v1/feeds/sp500/latest/" + "A" * 10_000) == 414
        assert SECRET not in (await client.ask("/v1/quotas"))[1].decode()

        async with listening(client) as one:
            await one.say(subscribe=["AAPL"])
            assert (await one.until("values"))["values"] == [latest]
            await writer.write(trade(2))
            assert (await one.until("values"))["values"][0]["volume"] == 2
        async with listening(client, headers={"Authorization": "Bearer wrong"}) as stranger:
            assert await stranger.farewell() == (1008, "a valid token is needed")

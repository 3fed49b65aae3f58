"""`ray-pipeline simulate`: a server as a process, from its first line to its end."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ray_pipeline.feeds import bithumb, finnhub
from tests.integration.simulators.clients import connected
from tests.support import eventually, next_line

PROVIDERS = ["finnhub", "bithumb"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ray_pipeline.cli.main", "simulate", *arguments]


def ended(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=60, check=False
    )


@contextlib.contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Run a simulator; give the process and what it printed when it listened."""
    with subprocess.Popen(
        command(*arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process, json.loads(next_line(process, "the addresses of the simulator"))
        finally:
            process.kill()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_help_names_every_option(provider):
    result = ended(provider, "--help")

    assert result.returncode == 0
    for option in ("--rate", "--seed", "--replay", "--speed", "--symbols", "--control-port"):
        assert option in result.stdout


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_serves_until_a_signal_and_exits_with_0(provider, number):
    """Also with a client that is in the middle of reading."""
    with started(provider, "--rate", "2000") as (process, told):
        if provider == "finnhub":
            url, request = finnhub.url(told["url"], "key"), finnhub.subscribe("AAPL")
        else:
            url, request = told["ws_url"], bithumb.subscribe("test", ["KRW-BTC"])
        async with connected(url) as client:
            await client.say(request)
            await client.count(20)
            process.send_signal(number)
            await eventually(lambda: process.poll() is not None, what="its end")

        assert process.returncode == 0
        assert process.stderr.read() == ""


def test_it_ends_with_the_process_that_started_it_if_told_so():
    with started("finnhub", "--until-stdin-ends") as (process, _):
        process.stdin.close()

        assert process.wait(30) == 0


async def test_it_replays_the_files_it_is_given(tmp_path):
    frames = tmp_path / "frames.jsonl"
    frames.write_text('{"data":[{"c":[],"p":1.50,"s":"AAPL","t":1,"v":1}],"type":"trade"}\n')
    ticks = tmp_path / "us_trades_20131007_open_SPY.csv"
    ticks.write_text("34200000,1674250,100,P,0012,0\n")
    files = ("--replay", str(frames), "--replay", str(ticks), "--speed", "0")
    with started("finnhub", *files) as (_, told):
        async with connected(finnhub.url(told["url"], "key")) as client:
            for symbol in ("AAPL", "SPY"):
                await client.say(finnhub.subscribe(symbol))
            first, second = await client.count(2)

    assert first == frames.read_text().strip()
    assert '"p":167.425,"s":"SPY"' in second


def test_a_file_that_cannot_be_replayed_is_one_line_and_exit_2(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("no frames")

    result = ended("finnhub", "--replay", str(file))

    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {file}: only .jsonl")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("provider", [*PROVIDERS, "rest"])
@pytest.mark.parametrize("option", ["--port", "--control-port"])
def test_a_port_that_is_taken_is_one_line_and_exit_2(provider, option):
    """It names the port and the way out."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        result = ended(provider, option, str(port))

    assert result.returncode == 2
    assert f"port {port}" in result.stderr
    assert "fix:" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_file_that_is_not_there_is_told(tmp_path):
    result = ended("bithumb", "--replay", str(tmp_path / "nowhere.jsonl"))

    assert result.returncode == 2
    assert "does not exist" in result.stderr

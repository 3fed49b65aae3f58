"""What every embedded server does at its start, stop and kill."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from ray_pipeline.errors import ServerError
from ray_pipeline.local.embedded_server import EmbeddedServer
from ray_pipeline.local.ports import reserve


class Sleeper(EmbeddedServer):
    """A server that answers as soon as its process runs, unless `broken`."""

    kind = "sleeper"
    name = "Sleeper"
    start_timeout_s = 5.0
    broken = False

    def prepare(self) -> Sequence[str]:
        if self.broken:
            raise ServerError("no space left")
        return ["/bin/sh", "-c", "exec sleep 60"]

    def ping(self) -> None:
        pass


@pytest.fixture
def sleeper(tmp_path):
    server = Sleeper(tmp_path)
    yield server
    server.process.kill()
    server.ports.release()


def is_held(server: EmbeddedServer) -> bool:
    with reserve(preferred=server.ports.numbers) as reservation:
        return reservation.ports != server.ports.numbers


def test_the_port_is_held_from_the_spawn_until_the_server_answers(sleeper):
    sleeper.spawn()
    assert is_held(sleeper)

    sleeper.wait_ready()
    assert sleeper.process.running
    assert not is_held(sleeper)


def test_a_killed_server_holds_its_port_and_starts_there_again(sleeper):
    sleeper.start()
    port = sleeper.port

    sleeper.kill()
    assert not sleeper.process.running
    assert is_held(sleeper)

    sleeper.start()
    assert sleeper.port == port
    assert not is_held(sleeper)


def test_a_stopped_server_releases_its_port(sleeper):
    sleeper.start()

    sleeper.stop()

    assert not sleeper.process.running
    assert not is_held(sleeper)


def test_a_start_that_fails_releases_the_port(sleeper):
    sleeper.broken = True

    with pytest.raises(ServerError, match="no space left"):
        sleeper.start()

    assert sleeper.port != 0
    assert not is_held(sleeper)


def test_a_recorded_server_is_reattached_by_its_process(sleeper, tmp_path):
    sleeper.start()

    reattached = Sleeper(Path(tmp_path), port=sleeper.port, identity=sleeper.process.identity)
    reattached.stop()

    assert not sleeper.process.running

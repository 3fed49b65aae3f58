"""How often a start is repeated if other programs take its ports."""

import pytest

from ray_pipeline.errors import PortTaken, ServerError
from ray_pipeline.local.process import ServerProcess
from ray_pipeline.local.server_ports import ServerPorts
from ray_pipeline.local.start import RESTARTS, wait_ready


class UnluckyServer:
    """A server whose first starts fail."""

    def __init__(self, log, *failures: ServerError) -> None:
        self.ports = ServerPorts(0, 0)
        self.process = ServerProcess("Unlucky", log=log)
        self.spawned = 0
        self._failures = list(failures)

    def spawn(self) -> None:
        self.spawned += 1
        self.ports.hold()

    def wait_ready(self) -> None:
        self.ports.release()
        if self._failures:
            raise self._failures.pop(0)


def test_a_start_is_repeated_and_reported_if_a_port_is_taken(tmp_path):
    server = UnluckyServer(tmp_path, PortTaken("taken"), PortTaken("taken"))
    server.spawn()
    lines, spawned = [], []

    wait_ready(server, on_progress=lines.append, on_spawn=lambda: spawned.append(server.spawned))

    assert spawned == [2, 3]
    assert len(lines) == 2
    assert "another program took a port of Unlucky" in lines[0]


def test_a_start_is_not_repeated_without_end(tmp_path):
    server = UnluckyServer(tmp_path, *[PortTaken("taken")] * 100)
    server.spawn()

    with pytest.raises(PortTaken):
        wait_ready(server, on_progress=lambda _: None)

    assert server.spawned == 1 + RESTARTS


def test_another_failure_is_not_repeated(tmp_path):
    server = UnluckyServer(tmp_path, ServerError("no space left"))
    server.spawn()

    with pytest.raises(ServerError, match="no space left"):
        wait_ready(server, on_progress=lambda _: None)

    assert server.spawned == 1

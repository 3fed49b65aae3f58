"""Listening sockets."""

import socket

import pytest

from ray_pipeline.errors import ServerError
from ray_pipeline.storage.listener import listen


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_free_port_is_bound_and_accepts_clients(host):
    with listen(host, 0) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection((host, port)) as client:
            assert client.getpeername()[1] == port


def test_a_used_port_is_refused_with_its_number():
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ServerError, match=f"cannot listen at 127.0.0.1 port {port}") as caught:
            listen("127.0.0.1", port)

    assert "end the program that listens there" in caught.value.fix

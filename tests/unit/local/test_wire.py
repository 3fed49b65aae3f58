"""The request that shows whether a broker is ready."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ray_pipeline.local.wire import CORRELATION, REQUEST, request_api_versions

CLIENT_S = 60.0


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A server that sends `answer` to one client; yields its port and what it received."""
    received: list[bytes] = []

    def serve() -> None:
        # With a deadline: a thread that waits for a client would keep the test process alive.
        listener.settimeout(CLIENT_S)
        connection, _ = listener.accept()
        with connection:
            received.append(connection.recv(100))
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], received
        thread.join(2 * CLIENT_S)
        assert not thread.is_alive(), "no client has connected"


def test_a_broker_answers_with_the_correlation_of_the_request():
    with answering(struct.pack(">iih", 6, CORRELATION, 0)) as (port, received):
        request_api_versions(port)

    assert received == [struct.pack(">i", len(REQUEST)) + REQUEST]


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 400 Bad Request", struct.pack(">iih", 6, CORRELATION, 35)],
    ids=["closed", "another-protocol", "error-code"],
)
def test_any_other_answer_is_an_error(answer):
    with (
        answering(answer) as (port, _),
        pytest.raises(ConnectionError, match="did not answer as a broker does"),
    ):
        request_api_versions(port)


def test_a_server_that_stays_silent_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(TimeoutError):
        request_api_versions(listener.getsockname()[1], timeout_s=0.05)

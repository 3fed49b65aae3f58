"""The one request of Kafka's protocol that says whether a broker answers."""

import socket
import struct

from ray_pipeline.local.ports import HOST

API_VERSIONS = 18
CORRELATION = 1
NO_CLIENT_ID = -1
REQUEST = struct.pack(">hhih", API_VERSIONS, 0, CORRELATION, NO_CLIENT_ID)


def ask_api_versions(port: int, *, timeout_s: float = 2.0) -> None:
    """
    Ask the broker at `port` which requests it knows; a broker that is starting stays silent.

    Raises:
        OSError: If there is no answer, or not a broker's.
    """
    with socket.create_connection((HOST, port), timeout=timeout_s) as connection:
        connection.sendall(struct.pack(">i", len(REQUEST)) + REQUEST)
        answer = connection.recv(10)
    if len(answer) < 10 or struct.unpack(">iih", answer)[1:] != (CORRELATION, 0):
        raise ConnectionError(f"port {port} did not answer as a broker does")

"""The request of Kafka's protocol that shows whether a broker is ready."""

import socket
import struct

from ray_pipeline.local.ports import HOST

# ApiVersions, version 0, is the smallest request: every broker answers it, before authentication.
# The header is: API key, API version, correlation id, client id (a string of length -1 is null).
API_VERSIONS = 18
CORRELATION = 1
NO_CLIENT_ID = -1
REQUEST = struct.pack(">hhih", API_VERSIONS, 0, CORRELATION, NO_CLIENT_ID)


def request_api_versions(port: int, *, timeout_s: float = 2.0) -> None:
    """
    Request the supported API versions from the broker at `port`.

    Raises:
        OSError: If nothing answers in time, as while a broker starts, or not in Kafka's protocol.
    """
    with socket.create_connection((HOST, port), timeout=timeout_s) as connection:
        connection.sendall(struct.pack(">i", len(REQUEST)) + REQUEST)
        # The response begins with its size, the request's correlation id and an error code.
        answer = connection.recv(10)
    if len(answer) < 10 or struct.unpack(">iih", answer)[1:] != (CORRELATION, 0):
        raise ConnectionError(f"port {port} did not answer as a broker does")

"""A reservation: which ports it holds, and which programs can use them at the same time."""

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ray_pipeline.errors import ServerError
from ray_pipeline.local.ports import HOST, RANGE, is_free, reserve
from tests.support import next_line

PROCESSES = 4
PORTS_EACH = 100
# Every process prefers the same ports, and holds its ports until its standard input ends.
RESERVE_THE_SAME = """
import json, sys
from ray_pipeline.local.ports import reserve
first, count = map(int, sys.argv[1:])
print("ready", flush=True)
sys.stdin.readline()
with reserve(count, preferred=range(first, first + count)) as reservation:
    print(json.dumps(reservation.ports), flush=True)
    sys.stdin.readline()
"""


@contextlib.contextmanager
def stranger(
    port: int, *, host: str = HOST, option: int = socket.SO_REUSEADDR
) -> Iterator[socket.socket]:
    """A server that does not use reservations; `option` is how it shares its port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind((host, port))
        listener.listen()
        yield listener


@contextlib.contextmanager
def taken(*, host: str = HOST, option: int = socket.SO_REUSEADDR) -> Iterator[int]:
    """A port at which a stranger listens; it is held until the stranger has bound it."""
    with reserve() as reservation, stranger(reservation.ports[0], host=host, option=option):
        reservation.release()
        yield reservation.ports[0]


def free() -> int:
    """Return a port that was free a moment ago."""
    with reserve() as reservation:
        return reservation.ports[0]


def leave_time_wait(port: int) -> None:
    """Serve one client and close first: the system keeps the connection for a minute."""
    with stranger(port) as listener, socket.create_connection((HOST, port)) as client:
        accepted, _ = listener.accept()
        accepted.close()
        assert client.recv(1) == b""


def test_a_reservation_has_distinct_ports_of_the_range():
    with reserve(50) as reservation:
        assert len(set(reservation.ports)) == 50
        assert set(reservation.ports) <= set(RANGE)


def test_two_reservations_share_no_port():
    with reserve(3) as first, reserve(3, preferred=first.ports) as second:
        assert not set(first.ports) & set(second.ports)


def test_many_processes_that_want_the_same_ports_share_none():
    """Each process gets a full set of ports."""
    command = [sys.executable, "-c", RESERVE_THE_SAME, str(RANGE[0]), str(PORTS_EACH)]
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(PROCESSES)
        ]
        for process in processes:
            next_line(process, "its ports")
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        sets = [json.loads(next_line(process, "its ports")) for process in processes]
        for process in processes:
            process.stdin.close()

    assert len({port for ports in sets for port in ports}) == PROCESSES * PORTS_EACH


def test_a_held_port_refuses_connections():
    """A test can use it as an address without a server."""
    with reserve() as reservation, pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, reservation.ports[0]))


@pytest.mark.parametrize("host", [HOST, "0.0.0.0", "::"])
@pytest.mark.parametrize("option", [socket.SO_REUSEADDR, socket.SO_REUSEPORT])
def test_a_server_can_listen_at_a_held_port(host, option):
    """Nearly all servers set SO_REUSEADDR; Ray Serve sets only SO_REUSEPORT."""
    with (
        reserve() as reservation,
        stranger(reservation.ports[0], host=host, option=option),
        socket.create_connection((HOST, reservation.ports[0])) as client,
    ):
        reservation.release()
        assert client.getpeername()[1] == reservation.ports[0]


@pytest.mark.parametrize("host", [HOST, "127.0.0.3", "0.0.0.0", "::"])
@pytest.mark.parametrize("option", [socket.SO_REUSEADDR, socket.SO_REUSEPORT])
def test_a_port_of_a_stranger_is_avoided(host, option):
    """Independent of its address, because an embedded server may listen at all addresses."""
    with taken(host=host, option=option) as port, reserve(preferred=[port]) as reservation:
        assert reservation.ports[0] != port
        assert reservation.ports[0] in RANGE


def test_preferred_ports_are_taken_in_order_while_they_are_free():
    with reserve(3) as earlier:
        preferred = earlier.ports

    with reserve(3, preferred=preferred) as reservation:
        assert reservation.ports == preferred


def test_only_the_used_port_of_the_preferred_ports_is_replaced():
    with reserve(2) as earlier:
        first, third = earlier.ports

    with taken() as second, reserve(3, preferred=(first, second, third)) as reservation:
        assert (reservation.ports[0], reservation.ports[2]) == (first, third)
        assert reservation.ports[1] not in (first, second, third)


def test_a_port_that_is_preferred_twice_is_held_once():
    port = free()

    with reserve(2, preferred=(port, port)) as reservation:
        assert reservation.ports[0] == port
        assert reservation.ports[1] != port


def test_0_is_no_preference():
    port = free()

    with reserve(2, preferred=(0, port)) as reservation:
        assert reservation.ports[0] in RANGE
        assert reservation.ports[1] == port


def test_a_preferred_port_can_be_held_while_closed_connections_remain():
    """A restarted server gets its port back at once, not after a minute."""
    port = free()
    leave_time_wait(port)

    with (
        reserve(preferred=[port]) as reservation,
        reserve(preferred=[port]) as other,
        stranger(port),
    ):
        assert reservation.ports[0] == port
        assert other.ports[0] != port


def test_released_ports_can_be_reserved_again():
    reservation = reserve(2)
    reservation.release()
    reservation.release()

    with reserve(2, preferred=reservation.ports) as again:
        assert again.ports == reservation.ports


def test_a_reservation_that_fails_holds_nothing():
    """A million ports are more than exist, and more than a process may open."""
    port = free()
    with pytest.raises(ServerError):
        reserve(1_000_000, preferred=[port])

    with reserve(preferred=[port]) as reservation:
        assert reservation.ports == (port,)


def test_a_port_at_which_a_server_listens_is_not_free():
    with reserve() as reservation:
        port = reservation.ports[0]
        assert is_free(port)
        with stranger(port):
            assert not is_free(port)

"""Which port a server gets."""

import socket

from ray_pipeline.local.ports import HOST, RANGE, free_port, is_free


def test_a_port_at_which_somebody_listens_is_not_free():
    with socket.create_server((HOST, 0)) as other:
        assert not is_free(other.getsockname()[1])


def test_the_port_of_last_time_is_kept_while_it_is_free():
    port = free_port()

    assert free_port(port) == port


def test_a_taken_port_is_replaced():
    with socket.create_server((HOST, 0)) as other:
        taken = other.getsockname()[1]

        assert free_port(taken) in RANGE

"""The ports of a server over its starts."""

import pytest

from ray_pipeline.local.ports import reserve
from ray_pipeline.local.server_ports import ServerPorts


def test_a_set_of_ports_stays_the_same_over_starts():
    """Clients that know an address find the server there again."""
    ports = ServerPorts(0, 0)
    ports.hold()
    before = ports.numbers
    ports.release()

    ports.hold()
    ports.release()

    assert ports.numbers == before
    assert 0 not in before


def test_ports_are_released_when_a_start_fails():
    ports = ServerPorts(0)
    with pytest.raises(RuntimeError), ports.held():
        raise RuntimeError("no such program")
    before = ports.numbers

    other = ServerPorts(*before)
    other.hold()
    other.release()

    assert other.numbers == before


def test_ports_stay_held_after_a_start_that_succeeded():
    """The server binds them some time after its process has started."""
    ports = ServerPorts(0)
    with ports.held():
        pass

    with reserve(preferred=ports.numbers) as other:
        assert other.ports != ports.numbers
    ports.release()


def test_to_hold_held_ports_again_changes_nothing():
    ports = ServerPorts(0)
    ports.hold()
    numbers = ports.numbers

    ports.hold()
    ports.release()

    assert ports.numbers == numbers

"""Which actors a release replaces, and when the older one may go."""

import pytest

from ray_pipeline.actors.desired import Desired
from ray_pipeline.actors.generations import at_work, outdated, twin


def wanted(*names):
    return [Desired(name.split("-")[0], name, ()) for name in names]


def test_an_older_release_is_replaced_by_the_same_place_of_this_one():
    desired = wanted("producer-sp500-01-g2", "consumer-sp500-0-g2")
    living = {"producer-sp500-01-g1", "consumer-sp500-0-g2", "producer-sp500-09-g1"}

    found = {one.name: one for one in outdated(living, desired, generation=2)}

    assert found["producer-sp500-01-g1"].successor == desired[0]
    assert found["producer-sp500-01-g1"].kind == "producer"
    assert found["producer-sp500-09-g1"].successor is None
    assert "consumer-sp500-0-g2" not in found


def test_a_newer_release_and_strangers_are_left_alone():
    living = {"producer-sp500-01-g3", "SERVE_CONTROLLER_ACTOR", "somebody", "x-g"}
    assert list(outdated(living, wanted("producer-sp500-01-g2"), generation=2)) == []


def test_what_this_release_does_not_want_any_more_goes():
    living = {"producer-sp500-11-g2"}
    (one,) = outdated(living, wanted("producer-sp500-01-g2"), generation=2)
    assert (one.name, one.successor) == ("producer-sp500-11-g2", None)


def test_an_actor_that_moved_to_another_node_is_the_desired_one():
    """Under its other name; the next generation replaces it as it replaces all."""
    moved = "producer-sp500-01-moved-g2"

    assert list(outdated({moved}, wanted("producer-sp500-01-g2"), generation=2)) == []
    desired = wanted("producer-sp500-01-g3")
    (old,) = outdated({moved}, desired, generation=3)
    assert (old.name, old.kind, old.successor) == (moved, "producer", desired[0])


def test_an_actor_has_two_names():
    """A name without a generation belongs to another program."""
    assert twin("producer-bithumb-g12") == "producer-bithumb-moved-g12"
    assert twin(twin("producer-sp500-01-g1")) == "producer-sp500-01-g1"
    assert twin("SERVE_CONTROLLER_ACTOR") == "SERVE_CONTROLLER_ACTOR"


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("producer", {"valid": True}, True),
        ("producer", {"valid": False, "state": "waiting"}, False),
        ("producer", {"state": "starting"}, False),
        ("consumer", {"state": "storing"}, True),
        ("consumer", {"state": "waiting for its partitions"}, False),
        ("scheduler", {"cause": ""}, True),
        ("scheduler", {"cause": "waiting for the lease"}, False),
        ("limiter", {"pid": 1}, True),
        ("limiter", "nothing", False),
    ],
)
def test_at_work_is_who_holds_what_it_needs(kind, status, expected):
    assert at_work(kind, status) is expected

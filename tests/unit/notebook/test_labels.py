"""Short names of actors."""

from ray_pipeline.notebook.labels import labels


def test_a_label_is_the_name_without_kind_and_generation():
    """In order; other actors are left out."""
    names = ["producer-sp500-01-g3", "producer-bithumb-g3", "SERVE_REPLICA", "producer-g3"]

    assert list(labels(names).items()) == [
        ("bithumb", "producer-bithumb-g3"),
        ("sp500-01", "producer-sp500-01-g3"),
    ]


def test_generations_are_compared_as_numbers():
    """The tenth is newer than the ninth."""
    assert labels(["consumer-sp500-0-g9", "consumer-sp500-0-g10"]) == {
        "sp500-0": "consumer-sp500-0-g10",
        "sp500-0-g9": "consumer-sp500-0-g9",
    }


def test_the_newer_release_has_the_short_name():
    found = labels(["producer-sp500-01-g1", "producer-sp500-01-g2", "producer-bithumb-g1", "x"])
    assert found == {
        "bithumb": "producer-bithumb-g1",
        "sp500-01": "producer-sp500-01-g2",
        "sp500-01-g1": "producer-sp500-01-g1",
    }


def test_an_actor_that_moved_to_another_node_keeps_its_label():
    assert labels(["producer-sp500-01-moved-g1"]) == {"sp500-01": "producer-sp500-01-moved-g1"}

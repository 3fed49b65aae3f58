"""What an error carries with it."""

import pickle

import pytest

from ray_pipeline.errors import BadRecord, Disposition, FeedRefused, PipelineError, RecordTooLarge


def test_the_text_of_an_error_ends_with_its_fix():
    error = PipelineError("the disk is full", fix="delete files")

    assert str(error) == "the disk is full\n  fix: delete files"
    assert str(PipelineError("the disk is full")) == "the disk is full"


@pytest.mark.parametrize(
    ("error", "attribute", "expected"),
    [
        (PipelineError("a", fix="b"), "fix", "b"),
        (FeedRefused("a", retry_after_s=5.0), "retry_after_s", 5.0),
        (BadRecord("a", reason="bad_time"), "reason", "bad_time"),
        (RecordTooLarge("a", index=3), "index", 3),
    ],
)
def test_an_error_survives_the_way_between_processes(error, attribute, expected):
    """Ray pickles the errors of actors, and these have keyword arguments."""
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert getattr(copy, attribute) == expected


def test_the_class_of_an_error_says_what_to_do():
    assert BadRecord("a", reason="b").disposition is Disposition.PARK
    assert FeedRefused("a").disposition is Disposition.WAIT
    assert PipelineError("a").disposition is Disposition.GIVE_UP

"""What is remembered of each apply, and where a rollback goes."""

import base64
import gzip
import random

import pytest

from ray_pipeline.errors import PipelineError
from ray_pipeline.kubernetes.deploy.objects import Json
from ray_pipeline.kubernetes.deploy.revisions import (
    KEPT,
    Revision,
    State,
    dropped,
    from_secret,
    latest,
    outdated,
    target,
    to_secret,
)


def config(name: str, value: str = "") -> Json:
    metadata = {"name": name, "namespace": "ns"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": value}}


def a_revision(number: int, state: State = "ready", *objects: Json) -> Revision:
    return Revision(number, objects or (config("a", str(number)),), state, "ha", "2026-11-23")


def test_a_secret_keeps_a_revision_as_it_was() -> None:
    """Manifests, state, number, time and source."""
    revision = a_revision(7, "failed", config("a"), config("b"))

    secret = to_secret(revision, "ns")

    assert from_secret(secret) == revision
    assert secret["kind"] == "Secret", "manifests may hold one, so what keeps them is one"


def test_the_secret_is_valid() -> None:
    """By the schema of the core kinds."""
    validate = pytest.importorskip("kubernetes_validate")

    validate.validate(to_secret(a_revision(1), "ns"), "1.36", strict=True)


def test_the_same_manifests_give_the_same_secret() -> None:
    """Writing it twice changes nothing: no time is packed with it."""
    first, second = (to_secret(a_revision(1), "ns") for _ in range(2))

    assert first == second
    packed = base64.b64decode(str(first["data"]["manifests"]))  # type: ignore[index]
    assert gzip.decompress(packed).startswith(b'[{"apiVersion"')


def test_manifests_that_no_secret_holds_are_an_error() -> None:
    """Not a revision that cannot be returned to."""
    noise = random.Random(1).randbytes(1_500_000).hex()

    with pytest.raises(PipelineError, match="custom resource definitions"):
        to_secret(a_revision(1, "ready", config("big", noise)), "ns")


@pytest.mark.parametrize(
    ("history", "number", "found"),
    [
        ([a_revision(1), a_revision(2)], None, 1),
        ([a_revision(1), a_revision(2, "failed"), a_revision(3, "failed")], None, 1),
        ([a_revision(1), a_revision(2), a_revision(3, "applying")], None, 2),
        ([a_revision(1), a_revision(2), a_revision(3)], 1, 1),
        ([a_revision(1), a_revision(2, "failed"), a_revision(3)], 2, 2),
        # A rollback after a rollback takes that one back.
        ([a_revision(1), a_revision(2), a_revision(3, "ready", config("a", "1"))], None, 2),
    ],
)
def test_a_rollback_goes_to_the_last_that_was_ready(
    history: list[Revision], number: int | None, found: int
) -> None:
    """Or to the revision of the given number."""
    assert target(history, number).number == found


@pytest.mark.parametrize(
    ("history", "number"),
    [
        ([], None),
        ([a_revision(1)], None),
        ([a_revision(1, "failed"), a_revision(2)], None),
        ([a_revision(1)], 4),
        # Going back to the same manifests would change nothing.
        ([a_revision(1, "ready", config("a")), a_revision(2, "ready", config("a"))], None),
    ],
)
def test_nowhere_to_go_back_to_is_an_error(history: list[Revision], number: int | None) -> None:
    """It says what there is."""
    with pytest.raises(PipelineError, match="no revision to go back to"):
        target(history, number)


def test_what_the_last_one_had_is_dropped() -> None:
    """By name: a changed object is the same object."""
    last = a_revision(1, "ready", config("a"), config("b"))

    assert [ref.name for ref in dropped(last, [config("a", "new")])] == ["b"]
    assert dropped(None, [config("a")]) == []


def test_a_good_revision_is_never_forgotten() -> None:
    """However many failed since."""
    history = [a_revision(1), *(a_revision(n, "failed") for n in range(2, KEPT + 5))]

    forgotten = outdated(history)

    assert [one.number for one in forgotten] == [4, 3, 2]
    assert latest(history) == history[-1]

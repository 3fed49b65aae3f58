"""
What was applied, kept in the cluster: each apply is a revision, a Secret with its manifests.

A Secret, because manifests may hold one. `ray-pipeline-revision-7` in the release's namespace, type
`ray-pipeline/revision`, the manifests as gzipped JSON in `data.manifests`, its state as a label.
"""

import base64
import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ray_pipeline.errors import PipelineError
from ray_pipeline.kubernetes.deploy.objects import Json, Ref, mapping, ref_of, text

NAME = "ray-pipeline-revision-"
TYPE = "ray-pipeline/revision"
LABEL = "ray-pipeline.io/revision"
STATE = "ray-pipeline.io/state"
FROM = "ray-pipeline.io/from"
AT = "ray-pipeline.io/at"
KEPT = 10
LARGEST_BYTES = 1_000_000  # a Secret holds 1 MiB, base64 counted before coding

State = Literal["applying", "ready", "failed"]


@dataclass(frozen=True, slots=True)
class Revision:
    """
    One apply.

    Attributes:
        state: `applying` until everything was ready; then `ready`, or `failed` at a time-out.
        source: Where the manifests came from, for people.
        at: When it began, ISO 8601.
    """

    number: int
    objects: tuple[Json, ...]
    state: State
    source: str
    at: str

    @property
    def refs(self) -> frozenset[Ref]:
        """What names its objects."""
        return frozenset(ref_of(obj) for obj in self.objects)

    def as_ready(self) -> "Revision":
        """Return it as one that became ready."""
        return replace(self, state="ready")

    def as_failed(self) -> "Revision":
        """Return it as one that did not become ready."""
        return replace(self, state="failed")


def to_secret(revision: Revision, namespace: str) -> Json:
    """
    Return the Secret that keeps the revision.

    Raises:
        PipelineError: If the manifests are too many for one.
    """
    packed = gzip.compress(json.dumps(revision.objects).encode(), mtime=0)
    if len(packed) > LARGEST_BYTES:
        raise PipelineError(
            f"the manifests take {len(packed):,} bytes, packed; a revision holds {LARGEST_BYTES:,}",
            fix="leave custom resource definitions to the operators' charts",
        )
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"{NAME}{revision.number}",
            "namespace": namespace,
            "labels": {LABEL: str(revision.number), STATE: revision.state},
            "annotations": {FROM: revision.source, AT: revision.at},
        },
        "type": TYPE,
        "data": {"manifests": base64.b64encode(packed).decode()},
    }


def from_secret(secret: Json) -> Revision:
    """Return the revision that a Secret keeps."""
    packed = base64.b64decode(text(secret, "data", "manifests"))
    labels = mapping(secret, "metadata", "labels")
    state = labels.get(STATE)
    return Revision(
        number=int(text(labels, LABEL)),
        objects=tuple(json.loads(gzip.decompress(packed))),
        state="ready" if state == "ready" else "failed" if state == "failed" else "applying",
        source=text(secret, "metadata", "annotations", FROM),
        at=text(secret, "metadata", "annotations", AT),
    )


def latest(revisions: Sequence[Revision]) -> Revision | None:
    """Return what was applied last; None for nothing."""
    return max(revisions, key=lambda one: one.number, default=None)


def target(revisions: Sequence[Revision], number: int | None) -> Revision:
    """
    Return what to go back to: the one of that number, else the newest ready one before the last.

    Raises:
        PipelineError: If there is none.
    """
    last = latest(revisions)
    if number is not None:
        found = next((one for one in revisions if one.number == number), None)
    else:
        before = (one for one in revisions if last and one.number < last.number)
        good = [one for one in before if one.state == "ready" and last and differs(one, last)]
        found = latest(good)
    if found is None:
        have = ", ".join(f"{one.number} ({one.state})" for one in revisions) or "none"
        wanted = "an earlier one that became ready" if number is None else f"number {number}"
        raise PipelineError(
            f"there is no revision to go back to: wanted {wanted}, have {have}",
            fix="`--to N` takes any of them; else apply the manifests of an earlier release",
        )
    return found


def differs(one: Revision, other: Revision) -> bool:
    """Say whether the two hold different manifests: a rollback to the same would be none."""
    return one.objects != other.objects


def dropped(last: Revision | None, objects: Iterable[Json]) -> list[Ref]:
    """Return what the last revision has and these manifests lack."""
    present = {ref_of(obj) for obj in objects}
    return sorted(last.refs - present) if last else []


def outdated(revisions: Sequence[Revision]) -> list[Revision]:
    """Return those to forget: all but the newest ten and the newest ready one."""
    newest = sorted(revisions, key=lambda one: one.number, reverse=True)
    good = next((one for one in newest if one.state == "ready"), None)
    return [one for one in newest[KEPT:] if one is not good]

"""
Revisions: each apply is one, kept in the cluster as a Secret with its manifests.

An installation (see `installation`) is what runs; a revision is what was applied. It is a Secret,
because manifests may hold one. The Secret is called `ray-pipeline-revision-7`, has the type
`ray-pipeline/revision`, the manifests as gzipped JSON in `data.manifests`, and the state as a
label.
"""

import base64
import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
LARGEST_BYTES = 1_000_000  # a Secret holds 1 MiB; the server counts the decoded value

State = Literal["applying", "ready", "failed"]


@dataclass(frozen=True, slots=True)
class Revision:
    """
    One apply.

    Attributes:
        state: `applying` until all objects are ready; then `ready`, or `failed` after a time-out.
        source: The origin of the manifests, for people.
        at: Its start, ISO 8601.
    """

    number: int
    objects: tuple[Json, ...]
    state: State
    source: str
    at: str

    @property
    def refs(self) -> frozenset[Ref]:
        """The references of its objects."""
        return frozenset(ref_of(obj) for obj in self.objects)


def to_secret(revision: Revision, namespace: str) -> Json:
    """
    Return the Secret that keeps the revision.

    Raises:
        PipelineError: If the manifests are too large for one Secret.
    """
    # Without a time in the header, equal manifests give equal bytes, and a repeated write changes
    # nothing.
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


def latest(revisions: Iterable[Revision]) -> Revision | None:
    """Return the newest revision; None without any."""
    return max(revisions, key=lambda revision: revision.number, default=None)


def target(revisions: Sequence[Revision], number: int | None) -> Revision:
    """
    Return the revision of that number; for None, the one to which a rollback goes.

    That is the newest ready revision before the last one, with manifests that differ from the last
    one's: going back to the same manifests would change nothing.

    Raises:
        PipelineError: If it does not exist.
    """
    last = latest(revisions)
    if number is not None:
        candidates = [revision for revision in revisions if revision.number == number]
    else:
        candidates = [revision for revision in revisions if last and _precedes(revision, last)]
    revision = latest(candidates)
    if revision is None:
        have = ", ".join(f"{item.number} ({item.state})" for item in revisions) or "none"
        needed = "an earlier one that became ready" if number is None else f"number {number}"
        raise PipelineError(
            f"there is no revision to go back to: needed {needed}, have {have}",
            fix="`--to N` takes any of them; else apply earlier manifests",
        )
    return revision


def _precedes(revision: Revision, last: Revision) -> bool:
    is_earlier = revision.number < last.number and revision.state == "ready"
    return is_earlier and revision.objects != last.objects


def dropped(last: Revision | None, objects: Iterable[Json]) -> list[Ref]:
    """Return the objects of the last revision that these manifests lack."""
    return sorted(last.refs - {ref_of(obj) for obj in objects}) if last else []


def outdated(revisions: Sequence[Revision]) -> list[Revision]:
    """Return the revisions to delete: all but the newest ten and the newest ready one."""
    newest_first = sorted(revisions, key=lambda revision: revision.number, reverse=True)
    newest_ready = next((item for item in newest_first if item.state == "ready"), None)
    return [revision for revision in newest_first[KEPT:] if revision is not newest_ready]

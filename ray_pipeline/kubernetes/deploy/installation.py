"""
An installation: the objects of ray-pipeline in one namespace of a cluster.

Words of this package: an apply creates a *revision*, the manifests as they were applied (see
`revisions`); the *installation* is what the last revision left on the cluster. The number of the
running code is the `generation`, of which this package knows nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ray_pipeline.errors import PipelineError
from ray_pipeline.kubernetes.deploy.explain import explain
from ray_pipeline.kubernetes.deploy.failures import UnknownKind
from ray_pipeline.kubernetes.deploy.gather import gather
from ray_pipeline.kubernetes.deploy.kube import Kube
from ray_pipeline.kubernetes.deploy.objects import Json, Ref, by_name, mapping, of_kind, ref_of
from ray_pipeline.kubernetes.deploy.order import in_order
from ray_pipeline.kubernetes.deploy.pod_diagnosis import Diagnosis
from ray_pipeline.kubernetes.deploy.readiness import Readiness, readiness
from ray_pipeline.kubernetes.deploy.revisions import (
    LABEL,
    NAME,
    Revision,
    dropped,
    from_secret,
    latest,
    outdated,
    to_secret,
)
from ray_pipeline.kubernetes.deploy.rollout import NotReady, Rollout

# Deleting a namespace deletes everything in it.
HOLDS_DATA = frozenset({"Namespace", "PersistentVolumeClaim", "PersistentVolume"})


@dataclass(frozen=True, slots=True)
class ObjectStatus:
    """The present state of one object, with diagnoses if it is not ready."""

    ref: Ref
    readiness: Readiness
    findings: tuple[Diagnosis, ...] = ()


def revisions(kube: Kube, namespace: str) -> list[Revision]:
    """Return the revisions in the namespace, oldest first."""
    secrets = kube.list("v1", "Secret", namespace=namespace, labels=LABEL)
    return sorted(map(from_secret, secrets), key=lambda revision: revision.number)


def current(kube: Kube, namespace: str) -> tuple[Revision, list[Revision]]:
    """
    Return the last revision, and all revisions.

    Raises:
        PipelineError: If the namespace has no revisions.
    """
    history = revisions(kube, namespace)
    if (last := latest(history)) is None:
        raise PipelineError(
            f"nothing was deployed to the namespace {namespace}",
            fix="`ray-pipeline deploy apply`, or name the namespace with --namespace",
        )
    return last, history


def deploy(rollout: Rollout, objects: Sequence[Json], *, namespace: str, source: str) -> Revision:
    """
    Apply the objects as a new revision, and wait until they are ready.

    The revision is stored first, as `applying`. After a crash or Ctrl-C it shows the intent, and
    `apply`, `rollback` and `delete` take it into account.

    Raises:
        MissingKinds, ConfigurationError: Before anything is written, as `Rollout.check`.
        NotReady: If they are not ready in time; the revision is kept as `failed`.
    """
    kube = rollout.kube
    rollout.check(objects)
    history = revisions(kube, namespace)
    last = latest(history)
    number = last.number + 1 if last else 1
    at = datetime.now(UTC).isoformat(timespec="seconds")
    revision = Revision(number, tuple(objects), "applying", source, at)
    # The revision is stored in the installation's namespace, which therefore comes first.
    if home := by_name(objects, "Namespace").get(namespace):
        kube.apply(home)
    _save(kube, revision, namespace)
    try:
        rollout.apply(objects)
        # Removed only now: until the new objects are ready, the old ones may still be in use.
        rollout.remove(dropped(last, objects))
    except NotReady:
        _save(kube, replace(revision, state="failed"), namespace)
        raise
    ready = replace(revision, state="ready")
    _save(kube, ready, namespace)
    for old in outdated([*history, ready]):
        kube.delete(_secret(old.number, namespace))
    return ready


def undeploy(rollout: Rollout, *, namespace: str, data: bool) -> list[Ref]:
    """
    Delete the objects of all revisions; return those that were left in place.

    Without `data`, volumes, their claims and namespaces stay, and so does the collected data.

    Raises:
        PipelineError: If the namespace has no revisions.
        NotReady: If an object is not gone in time; the same call continues.
    """
    kube = rollout.kube
    last, history = current(kube, namespace)
    # All revisions, because a failed apply never removed what it dropped. The newest manifest wins.
    applied = {ref_of(obj): obj for revision in history for obj in revision.objects}
    present = [ref for ref in applied if kube.find(ref) is not None]
    left = [] if data else [ref for ref in present if ref.kind in HOLDS_DATA]
    claims = _claims(kube, last, namespace)
    rollout.delete([applied[ref] for ref in present if ref not in left])
    if data:
        rollout.delete(claims)
    # Last: if the delete is interrupted, the revisions still list what remains.
    for revision in history:
        kube.delete(_secret(revision.number, namespace))
    return left if data else sorted({*left, *map(ref_of, claims)})


def statuses(kube: Kube, revision: Revision) -> list[ObjectStatus]:
    """Return the state of each object of a revision, in the order of the apply."""
    return [_status(kube, ref_of(obj)) for obj in in_order(revision.objects)]


def _status(kube: Kube, ref: Ref) -> ObjectStatus:
    try:
        live = kube.get(ref)
    except UnknownKind as error:
        return ObjectStatus(ref, Readiness("missing", error.args[0]))
    state = readiness(live)
    if state.state == "ready":
        return ObjectStatus(ref, state)
    return ObjectStatus(ref, state, tuple(explain(gather(kube, ref, live))))


def _claims(kube: Kube, revision: Revision, namespace: str) -> list[Json]:
    """Return the volume claims that stateful sets and Strimzi created; no manifest lists them."""
    labels: list[Json] = [
        mapping(stateful_set, "spec", "selector", "matchLabels")
        for stateful_set in of_kind(revision.objects, "StatefulSet")
    ]
    labels += [{"strimzi.io/cluster": ref.name} for ref in revision.refs if ref.kind == "Kafka"]
    selectors = {
        ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
        for selector in labels
        if selector
    }
    return [
        claim
        for selector in sorted(selectors)
        for claim in kube.list("v1", "PersistentVolumeClaim", namespace=namespace, labels=selector)
    ]


def _save(kube: Kube, revision: Revision, namespace: str) -> None:
    kube.apply(to_secret(revision, namespace), force=True)


def _secret(number: int, namespace: str) -> Ref:
    return Ref("v1", "Secret", namespace, f"{NAME}{number}")

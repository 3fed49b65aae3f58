"""
An installation: the objects of ray-pipeline in one namespace of a cluster.

Words of this package: an apply creates a *revision*, the manifests as they were applied (see
`revisions`); the *installation* is what the last revision left on the cluster. The number of the
running code is the `generation`, of which this package knows nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ray_pipeline.errors import PipelineError
from ray_pipeline.kubernetes.deploy.collecting import collecting_state, supervised
from ray_pipeline.kubernetes.deploy.explain import explain
from ray_pipeline.kubernetes.deploy.failures import UnknownKind
from ray_pipeline.kubernetes.deploy.gather import gather, list_readable
from ray_pipeline.kubernetes.deploy.kube import Kube
from ray_pipeline.kubernetes.deploy.live_state import live_state
from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    Ref,
    by_name,
    dig,
    kind_of,
    mapping,
    of_kind,
    ref_of,
)
from ray_pipeline.kubernetes.deploy.order import in_order
from ray_pipeline.kubernetes.deploy.pod_diagnosis import Diagnosis
from ray_pipeline.kubernetes.deploy.readiness import Readiness
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
from ray_pipeline.kubernetes.deploy.rollout import Rollout

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
        NotReady: If they are not ready in time.
        PipelineError: If the server refuses an object. In both cases the revision becomes `failed`.
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
    except PipelineError:
        _save(kube, replace(revision, state="failed"), namespace)
        raise
    ready = replace(revision, state="ready")
    _save(kube, ready, namespace)
    for old in outdated([*history, ready]):
        kube.delete(_secret(old.number, namespace))
    return ready


def undeploy(rollout: Rollout, *, namespace: str, data: bool) -> list[Ref]:
    """
    Delete the objects of all revisions; return what remains and holds data or secrets.

    Without `data`, volumes, their claims and namespaces stay, and so does the collected data.
    Secrets that were created by hand stay until their namespace is deleted.

    Raises:
        PipelineError: If the namespace has no revisions.
        NotReady: If an object or its pods are not gone in time; the same call continues.
    """
    kube = rollout.kube
    last, history = current(kube, namespace)
    # All revisions, because a failed apply never removed what it dropped. The newest manifest wins.
    applied = {ref_of(obj): obj for revision in history for obj in revision.objects}
    claims = _claims(kube, last, namespace)
    rollout.delete([
        obj for ref, obj in applied.items() if data or ref.kind not in HOLDS_DATA
    ])  # fmt: skip
    if data:
        rollout.delete(claims)
    # Last: if the delete is interrupted, the revisions still list what remains.
    for revision in history:
        kube.delete(_secret(revision.number, namespace))
    kept = {ref for ref in applied if ref.kind in HOLDS_DATA} | set(map(ref_of, claims))
    secrets = set(map(ref_of, list_readable(kube, "Secret", namespace)))
    return sorted(ref for ref in kept | secrets if kube.find(ref) is not None)


def removal_command(remaining: Sequence[Ref], namespace: str) -> str:
    """Return the command that deletes what a delete left; empty if nothing is left."""
    if any(ref.kind == "Namespace" and ref.name == namespace for ref in remaining):
        return f"kubectl delete namespace {namespace}"
    names = " ".join(f"{ref.kind.lower()}/{ref.name}" for ref in remaining)
    return f"kubectl delete -n {namespace} {names}" if names else ""


def statuses(kube: Kube, revision: Revision) -> list[ObjectStatus]:
    """Return the state of each object of a revision, in the order of the apply."""
    urls = supervised(revision.objects)
    return [_status(kube, revision, obj, urls) for obj in in_order(revision.objects)]


def _status(kube: Kube, revision: Revision, obj: Json, urls: Mapping[Ref, str]) -> ObjectStatus:
    ref = ref_of(obj)
    try:
        url = urls.get(ref)
        state = collecting_state(kube, ref, url) if url else live_state(kube, ref)
    except UnknownKind as error:
        return ObjectStatus(ref, Readiness("missing", error.args[0]))
    if state.state == "missing" and revision.state == "ready" and _removes_itself(obj):
        return ObjectStatus(ref, Readiness("ready", "ended, and was removed by its time to live"))
    if state.state == "ready" or state.findings:
        return ObjectStatus(ref, state, state.findings)
    return ObjectStatus(ref, state, tuple(explain(gather(kube, ref, kube.get(ref)))))


def _removes_itself(obj: Json) -> bool:
    return kind_of(obj) == "Job" and dig(obj, "spec", "ttlSecondsAfterFinished") is not None


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

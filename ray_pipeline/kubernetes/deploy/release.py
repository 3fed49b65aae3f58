"""A release: what is on the cluster in one namespace, and its history."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ray_pipeline.errors import PipelineError
from ray_pipeline.kubernetes.deploy.explain import explain
from ray_pipeline.kubernetes.deploy.failures import UnknownKind
from ray_pipeline.kubernetes.deploy.gather import gather
from ray_pipeline.kubernetes.deploy.kube import Kube
from ray_pipeline.kubernetes.deploy.objects import Json, Ref, mapping, ref_of, text
from ray_pipeline.kubernetes.deploy.order import in_order
from ray_pipeline.kubernetes.deploy.pod_problems import Finding
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


@dataclass(frozen=True, slots=True)
class ObjectStatus:
    """One object of a release as it is now, and why where it is not ready."""

    ref: Ref
    readiness: Readiness
    findings: tuple[Finding, ...] = ()


def revisions(kube: Kube, namespace: str) -> list[Revision]:
    """Return what was applied to the namespace, oldest first."""
    secrets = kube.list("v1", "Secret", namespace=namespace, labels=LABEL)
    return sorted((from_secret(one) for one in secrets), key=lambda one: one.number)


def current(kube: Kube, namespace: str) -> tuple[Revision, list[Revision]]:
    """
    Return what was applied last, and all that was.

    Raises:
        PipelineError: If nothing was.
    """
    history = revisions(kube, namespace)
    last = latest(history)
    if last is None:
        raise PipelineError(
            f"nothing was deployed to the namespace {namespace}",
            fix="`ray-pipeline deploy apply`, or name the namespace with --namespace",
        )
    return last, history


def deploy(rollout: Rollout, objects: Sequence[Json], *, namespace: str, source: str) -> Revision:
    """
    Apply the objects as a new revision, and wait until they are ready.

    The revision is written first, as `applying`: after a crash or Ctrl-C it says what was meant,
    and `apply`, `rollback` and `delete` know about it.

    Raises:
        MissingKinds, ConfigurationError: Before anything was written, as `Rollout.check`.
        NotReady: If they are not ready in time; the revision is kept as `failed`.
    """
    kube = rollout.kube
    rollout.check(objects)
    history = revisions(kube, namespace)
    last = latest(history)
    number = last.number + 1 if last else 1
    at = datetime.now(UTC).isoformat(timespec="seconds")
    revision = Revision(number, tuple(objects), "applying", source, at)
    _make_namespace(kube, objects, namespace)
    _save(kube, revision, namespace)
    try:
        rollout.apply(objects)
        rollout.remove(dropped(last, objects))
    except NotReady:
        _save(kube, revision.as_failed(), namespace)
        raise
    _save(kube, revision.as_ready(), namespace)
    for old in outdated([*history, revision.as_ready()]):
        kube.delete(_secret(old.number, namespace))
    return revision.as_ready()


def undeploy(rollout: Rollout, *, namespace: str, data: bool) -> list[Ref]:
    """
    Delete what the last revision has; return what was left in place.

    Without `data`, claims, what holds them, and namespaces stay, and so does what was collected.

    Raises:
        PipelineError: If nothing was deployed.
        NotReady: If something is not gone in time; asking again goes on.
    """
    last, history = current(rollout.kube, namespace)
    applied = {ref_of(obj): obj for one in history for obj in one.objects}  # the newest counts
    present = [ref for ref in applied if _present(rollout.kube, ref)]
    left = [] if data else [ref for ref in present if ref.kind in HOLDS_DATA]
    claims = _claims(rollout.kube, last, namespace)
    rollout.delete([applied[ref] for ref in present if ref not in left])
    if data:
        rollout.delete(claims)
    for one in history:
        rollout.kube.delete(_secret(one.number, namespace))
    return left if data else sorted({*left, *map(ref_of, claims)})


# A namespace takes with it whatever is in it.
HOLDS_DATA = frozenset({"Namespace", "PersistentVolumeClaim", "PersistentVolume"})


def statuses(kube: Kube, revision: Revision) -> list[ObjectStatus]:
    """Return how each object of a revision is, in the order of applying."""
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


def _present(kube: Kube, ref: Ref) -> bool:
    try:
        return kube.get(ref) is not None
    except UnknownKind:
        return False


def _claims(kube: Kube, revision: Revision, namespace: str) -> list[Json]:
    """Return the volume claims that stateful sets and Strimzi made for this release."""
    selectors = {
        f"strimzi.io/cluster={ref.name}" for ref in revision.refs if ref.kind == "Kafka"
    } | {
        ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        for obj in revision.objects
        if text(obj, "kind") == "StatefulSet" and (labels := _labels(obj))
    }
    return [
        claim
        for selector in sorted(selectors)
        for claim in kube.list("v1", "PersistentVolumeClaim", namespace=namespace, labels=selector)
    ]


def _labels(stateful_set: Json) -> Json:
    return mapping(stateful_set, "spec", "selector", "matchLabels")


def _make_namespace(kube: Kube, objects: Sequence[Json], namespace: str) -> None:
    """Make the namespace before the rest: the revision is written into it."""
    for obj in objects:
        if text(obj, "kind") == "Namespace" and ref_of(obj).name == namespace:
            kube.apply(obj)


def _save(kube: Kube, revision: Revision, namespace: str) -> None:
    kube.apply(to_secret(revision, namespace), force=True)


def _secret(number: int, namespace: str) -> Ref:
    return Ref("v1", "Secret", namespace, f"{NAME}{number}")

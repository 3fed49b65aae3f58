"""What an apply would do, asked of the server without doing it."""

from collections.abc import Sequence
from dataclasses import replace

from ray_pipeline.kubernetes.deploy.diff import Change, compare
from ray_pipeline.kubernetes.deploy.failures import (
    FieldConflict,
    Forbidden,
    MissingNamespace,
    Refused,
    UnknownKind,
)
from ray_pipeline.kubernetes.deploy.kinds import Kind, MissingKind, missing, used
from ray_pipeline.kubernetes.deploy.kube import Kube
from ray_pipeline.kubernetes.deploy.needs import secrets_needed
from ray_pipeline.kubernetes.deploy.objects import Json, Ref, ref_of, text
from ray_pipeline.kubernetes.deploy.order import KEPT, in_order
from ray_pipeline.kubernetes.deploy.pod_problems import Finding, create_fix
from ray_pipeline.kubernetes.deploy.policies import cut_off, endpoints_of
from ray_pipeline.kubernetes.deploy.readiness import readiness

OWN = "kubernetes.io/service-name=kubernetes"  # the API server's own Service
UNCHECKED = "not checked by the server yet: "
UNMADE = "pods read it, and it is not there"
REPLACED = "a Job cannot be changed: it is deleted and made anew"
ORPHAN_KEPT = "no longer in the manifests; left where it is, because data hangs on it"


def plan(
    kube: Kube, objects: Sequence[Json], dropped: Sequence[Ref] = (), *, force: bool = False
) -> list[Change]:
    """
    Return what an apply would do to each object, in the order in which it would.

    Nothing is changed: the server answers a dry run. What it refuses is a change of state
    `refused` or `conflict`, so that one page shows everything that is in the way.

    Raises:
        ConfigurationError: If an annotation names a wave that does not exist.
    """
    namespaces = {ref_of(obj).name for obj in objects if text(obj, "kind") == "Namespace"}
    lacking = {absent.kind for absent in missing_kinds(kube, objects)}
    changes = [
        _change(kube, obj, force=force, lacking=lacking, namespaces=namespaces)
        for obj in in_order(objects)
    ]
    return [*changes, *(_dropped(ref) for ref in dropped if _exists(kube, ref))]


def unserved_kinds(kube: Kube, objects: Sequence[Json]) -> list[Kind]:
    """Return the kinds of the objects that the API server does not serve now."""
    return [kind for kind in used(objects) if not _served(kube, kind)]


def missing_kinds(kube: Kube, objects: Sequence[Json]) -> list[MissingKind]:
    """Return the kinds that are not served, and that nothing in the manifests will bring."""
    return missing(objects, unserved_kinds(kube, objects))


def _served(kube: Kube, kind: Kind) -> bool:
    try:
        kube.resource(*kind)
    except UnknownKind:
        return False
    return True


def missing_secrets(kube: Kube, objects: Sequence[Json]) -> list[Finding]:
    """Return the secrets that pods will wait for, because nobody has made them."""
    return [
        Finding(
            str(ref),
            "pods read it, and it is not there",
            create_fix("secret", ref.name, ref.namespace),
        )
        for ref in secrets_needed(objects)
        if _readable(kube, ref) is None
    ]


def api_server_cut_off(kube: Kube, objects: Sequence[Json]) -> list[Finding]:
    """Return the policies that keep pods, which need it, from this cluster's API server."""
    try:
        slices = kube.list("discovery.k8s.io/v1", "EndpointSlice", namespace="default", labels=OWN)
    except (Forbidden, UnknownKind):
        return []
    return cut_off(objects, endpoints_of(slices))


def must_replace(live: Json | None) -> bool:
    """Say whether the object must go before it can run again: a Job that failed."""
    return live is not None and text(live, "kind") == "Job" and readiness(live).state == "failed"


def _change(
    kube: Kube, obj: Json, *, force: bool, lacking: set[Kind], namespaces: set[str]
) -> Change:
    ref = ref_of(obj)
    live: Json | None = None
    try:
        live = kube.get(ref)
        wanted = kube.apply(obj, dry_run=True, force=force)
    except UnknownKind as error:
        note = f"{UNCHECKED}the operator that knows {ref.kind} is installed first"
        brought = (ref.api_version, ref.kind) not in lacking
        return Change(ref, "created", note=note) if brought else _refused(ref, error)
    except MissingNamespace as error:
        note = f"{UNCHECKED}its namespace is made first"
        known = ref.namespace in namespaces
        return Change(ref, "created", note=note) if known else _refused(ref, error)
    except FieldConflict as error:
        return Change(ref, "conflict", note=str(error))
    except Refused as error:
        replaceable = error.immutable and ref.kind == "Job"
        return Change(ref, "replaced", note=REPLACED) if replaceable else _refused(ref, error)
    change = compare(live, wanted)
    if must_replace(live):
        return replace(change, state="replaced", note="it failed: it is deleted and made anew")
    return change


def _refused(ref: Ref, error: Exception) -> Change:
    return Change(ref, "refused", note=str(error))


def _dropped(ref: Ref) -> Change:
    if ref.kind in KEPT:
        return Change(ref, "unchanged", note=ORPHAN_KEPT)
    return Change(ref, "removed", note="no longer in the manifests")


def _exists(kube: Kube, ref: Ref) -> bool:
    try:
        return kube.get(ref) is not None
    except UnknownKind:
        return False


def _readable(kube: Kube, ref: Ref) -> Json | None:
    """Return the object, or something that says it may be there where we may not look."""
    try:
        return kube.get(ref)
    except Forbidden:
        return {}

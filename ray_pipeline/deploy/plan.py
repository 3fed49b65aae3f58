"""What an apply would do, asked of the server without doing it."""

from collections.abc import Sequence
from dataclasses import replace

from ray_pipeline.deploy.diff import Change, compare
from ray_pipeline.deploy.failures import (
    FieldConflict,
    Forbidden,
    MissingNamespace,
    Refused,
    UnknownKind,
)
from ray_pipeline.deploy.kube import Kube
from ray_pipeline.deploy.needs import installs_kinds, secrets_needed
from ray_pipeline.deploy.objects import Json, Ref, ref_of, text
from ray_pipeline.deploy.order import KEPT, wave_of
from ray_pipeline.deploy.pods import Finding, create_fix
from ray_pipeline.deploy.readiness import readiness

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
    """
    namespaces = {ref_of(obj).name for obj in objects if text(obj, "kind") == "Namespace"}
    ordered = sorted(objects, key=lambda obj: wave_of(text(obj, "kind")))
    changes = [
        _change(kube, obj, force=force, brings_kinds=installs_kinds(objects), namespaces=namespaces)
        for obj in ordered
    ]
    return [*changes, *(_dropped(ref) for ref in dropped if _exists(kube, ref))]


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


def must_replace(live: Json | None) -> bool:
    """Say whether the object must go before it can run again: a Job that failed."""
    return live is not None and text(live, "kind") == "Job" and readiness(live).state == "failed"


def _change(
    kube: Kube, obj: Json, *, force: bool, brings_kinds: bool, namespaces: set[str]
) -> Change:
    ref = ref_of(obj)
    live: Json | None = None
    try:
        live = kube.get(ref)
        wanted = kube.apply(obj, dry_run=True, force=force)
    except UnknownKind as error:
        note = f"{UNCHECKED}the operator that knows {ref.kind} is installed first"
        return Change(ref, "created", note=note) if brings_kinds else _refused(ref, error)
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

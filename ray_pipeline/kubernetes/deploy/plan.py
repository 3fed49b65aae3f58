"""
The effects of an apply, from the server's dry run.

Only the server knows its defaults, its checks and the user's rights. A dry run applies all of them
without storing anything. Two refusals are expected: the kind or the namespace does not exist yet,
but the same manifests create it before this object.
"""

from collections.abc import Sequence
from dataclasses import replace

from ray_pipeline.kubernetes.deploy.diff import Change, compare
from ray_pipeline.kubernetes.deploy.failures import (
    FieldConflict,
    Forbidden,
    MissingNamespace,
    ObjectRefused,
    UnknownKind,
)
from ray_pipeline.kubernetes.deploy.kinds import (
    Kind,
    MissingKind,
    Served,
    missing,
    used,
    without_optional,
)
from ray_pipeline.kubernetes.deploy.kube import Kube
from ray_pipeline.kubernetes.deploy.needs import secrets_needed
from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    Ref,
    by_name,
    items,
    kind_of,
    namespace_of,
    pod_templates,
    ref_of,
    text,
)
from ray_pipeline.kubernetes.deploy.order import KEPT, in_order
from ray_pipeline.kubernetes.deploy.pod_diagnosis import Diagnosis, create_fix
from ray_pipeline.kubernetes.deploy.policies import cut_off, endpoints_of
from ray_pipeline.kubernetes.deploy.readiness import readiness

API_SERVER_SLICES = "kubernetes.io/service-name=kubernetes"
UNCHECKED = "not checked by the server yet: "


def plan(
    kube: Kube, objects: Sequence[Json], dropped: Sequence[Ref] = (), *, force: bool = False
) -> list[Change]:
    """
    Return the effect of an apply on each object, in the order of the apply.

    Nothing is changed. An object that the server refuses becomes a change of state `refused` or
    `conflict`, so that one plan shows every obstacle.

    Raises:
        ConfigurationError: If an annotation names a wave that does not exist.
    """
    namespaces = by_name(objects, "Namespace").keys()
    missing_kind_names = {absent.kind for absent in missing_kinds(kube, objects)}
    changes = []
    for obj in in_order(objects):
        ref = ref_of(obj)
        try:
            changes.append(_change(kube, obj, force=force))
        except UnknownKind as error:
            brought = (ref.api_version, ref.kind) not in missing_kind_names
            note = f"the operator that serves {ref.kind} is installed first"
            changes.append(_created(ref, note) if brought else _refused(ref, error))
        except MissingNamespace as error:
            created = ref.namespace in namespaces
            note = "its namespace is created first"
            changes.append(_created(ref, note) if created else _refused(ref, error))
        except FieldConflict as error:
            changes.append(Change(ref, "conflict", note=str(error)))
        except ObjectRefused as error:
            changes.append(_refused(ref, error))
    return [*changes, *(_dropped(ref) for ref in dropped if kube.find(ref) is not None)]


def unserved_kinds(kube: Kube, objects: Sequence[Json]) -> list[Kind]:
    """Return the kinds of the objects that the API server does not serve now."""
    return [kind for kind in used(objects) if not kube.serves(*kind)]


def missing_kinds(kube: Kube, objects: Sequence[Json]) -> list[MissingKind]:
    """Return the kinds that are not served and that no object of the manifests installs."""
    return missing(objects, unserved_kinds(kube, objects))


def served(kube: Kube, objects: Sequence[Json]) -> Served:
    """Return the objects without the optional components whose kinds the cluster lacks."""
    return without_optional(objects, missing_kinds(kube, objects))


def missing_secrets(kube: Kube, objects: Sequence[Json]) -> list[Diagnosis]:
    """Return the Secrets for which pods will wait, because no object creates them."""
    fixes = {ref: create_fix("secret", ref.name, ref.namespace) for ref in secrets_needed(objects)}
    return [
        Diagnosis(str(ref), "pods read it, and it does not exist", fix)
        for ref, fix in fixes.items()
        if not _may_exist(kube, ref)
    ]


def api_server_cut_off(kube: Kube, objects: Sequence[Json]) -> list[Diagnosis]:
    """Return the policies that keep pods, which need it, from this cluster's API server."""
    kind = ("discovery.k8s.io/v1", "EndpointSlice")
    try:
        slices = kube.list(*kind, namespace="default", labels=API_SERVER_SLICES)
    except (Forbidden, UnknownKind):
        return []
    return cut_off(objects, endpoints_of(slices))


def settings_without_effect(objects: Sequence[Json], changes: Sequence[Change]) -> list[Diagnosis]:
    """
    Return the changed ConfigMaps that the running pods of Ray do not read again.

    Variables are read when a pod starts, and KubeRay starts pods only after a change of the spec.
    """
    states = {change.ref: change.state for change in changes}
    return [
        Diagnosis(
            str(config_map),
            f"its values change, but {ref_of(obj)} does not: its pods keep the earlier settings",
            "raise PIPELINE_RAY__GENERATION in its manifest, so that new pods start",
        )
        for obj in objects
        if kind_of(obj) in {"RayCluster", "RayService"} and states.get(ref_of(obj)) == "unchanged"
        for config_map in sorted(_config_maps(obj))
        if states.get(config_map) == "changed"
    ]


def _config_maps(obj: Json) -> set[Ref]:
    """Return the ConfigMaps from which the object's pods take variables."""
    return {
        Ref("v1", "ConfigMap", namespace_of(obj), text(source, "configMapRef", "name"))
        for template in pod_templates(obj)
        for container in items(template, "spec", "containers")
        for source in items(container, "envFrom")
    }


def must_replace(live: Json | None) -> bool:
    """Say whether the object must be deleted before it can run again: a Job that failed."""
    return live is not None and kind_of(live) == "Job" and readiness(live).state == "failed"


def _change(kube: Kube, obj: Json, *, force: bool) -> Change:
    ref = ref_of(obj)
    live = kube.get(ref)
    try:
        change = compare(live, kube.apply(obj, dry_run=True, force=force))
    except ObjectRefused as error:
        if ref.kind != "Job" or not error.immutable:
            raise
        note = "a Job cannot be changed: it is deleted and created again"
        return Change(ref, "replaced", note=note)
    if must_replace(live):
        return replace(change, state="replaced", note="it failed: it is deleted and created again")
    return change


def _created(ref: Ref, note: str) -> Change:
    return Change(ref, "created", note=UNCHECKED + note)


def _refused(ref: Ref, error: Exception) -> Change:
    return Change(ref, "refused", note=str(error))


def _dropped(ref: Ref) -> Change:
    if ref.kind in KEPT:
        note = "no longer in the manifests; left where it is, because data hangs on it"
        return Change(ref, "unchanged", note=note)
    return Change(ref, "removed", note="no longer in the manifests")


def _may_exist(kube: Kube, ref: Ref) -> bool:
    """Say whether the object exists; True also if the user lacks the right to read it."""
    try:
        return kube.get(ref) is not None
    except Forbidden:
        return True

"""The errors of a cluster, each with its fix."""

from collections.abc import Mapping, Sequence

from ray_pipeline.errors import ConfigurationError, PipelineError, Unavailable
from ray_pipeline.kubernetes.deploy.kinds import MissingKind, how_to_get
from ray_pipeline.kubernetes.deploy.objects import Ref, items, text

MISTYPED = "failed to create typed patch object"
CONFLICT = 409
FORBIDDEN = 403
UNAUTHORIZED = 401
NOT_FOUND = 404
TOO_MANY = 429


class NoKubeconfig(ConfigurationError):
    """No kubeconfig and no context name a cluster."""


class ClusterUnavailable(Unavailable):
    """The API server cannot be reached, or cannot answer now."""


class Forbidden(PipelineError):
    """The user lacks the right to do this."""


class NotLoggedIn(PipelineError):
    """The cluster does not accept the credentials."""


class UnknownKind(PipelineError):
    """The API server does not serve the kind: its custom resource definition is missing."""

    def __init__(self, kind: str, api_version: str) -> None:
        super().__init__(
            f"the cluster does not know {kind} ({api_version})",
            fix=how_to_get(api_version, kind),
        )


class MissingKinds(PipelineError):
    """The manifests need kinds that the cluster does not serve and that they do not install."""

    def __init__(self, missing: Sequence[MissingKind], *, command: str) -> None:
        """Build the message; `command` can be repeated without a component."""
        lines = [f"- {kind.name}: {', '.join(map(str, kind.refs))}" for kind in missing]
        # The fixes: leave the objects out, or install their kinds.
        if components := sorted({name for kind in missing for name in kind.components}):
            options = " ".join(f"--without {name}" for name in components)
            lines.append(f"  to leave {' and '.join(components)} out: `{command} {options}`")
        fixes = dict.fromkeys(how_to_get(*kind.kind) for kind in missing)
        lines += [f"  to have them: {fix}" for fix in fixes]
        problem = "nothing was applied: the cluster does not serve what these objects need"
        super().__init__("\n".join([problem, *lines]))


class FieldConflict(PipelineError):
    """Another program owns fields that the manifests set to something else."""

    def __init__(self, ref: Ref, fields: Sequence[str]) -> None:
        shown = "; ".join(fields) or "the server names no fields"
        super().__init__(
            f"{ref}: another program set fields that these manifests set: {shown}",
            fix="take the fields over with --force-conflicts, or leave them out of the manifests",
        )


class ObjectRefused(PipelineError):
    """
    The server refuses the object.

    Attributes:
        immutable: Whether the server would accept it after the present object is deleted.
    """

    def __init__(self, ref: Ref, message: str) -> None:
        self.immutable = "immutable" in message or "Forbidden: updates to" in message
        fix = (
            f"`kubectl delete {ref.kind.lower()} {ref.name} -n {ref.namespace}` and apply again; "
            "check first whether it holds data"
            if self.immutable
            else "correct the manifest; this object was not applied"
        )
        super().__init__(f"{ref}: {message}", fix=fix)


class MissingNamespace(PipelineError):
    """The object's namespace does not exist."""


def failure(status: int, body: Mapping[str, object], *, verb: str, ref: Ref) -> PipelineError:
    """Return the error for an answer of the server; `body` is its Status object, or empty."""
    message = text(body, "message") or f"HTTP {status}"
    if status == FORBIDDEN:
        return _forbidden(message, verb=verb, ref=ref)
    if status == UNAUTHORIZED:
        return NotLoggedIn(
            "the cluster does not accept your credentials",
            fix="renew them (`kubectl config current-context` names the context in use), "
            "or choose another context with --context",
        )
    if status == CONFLICT and (fields := _conflicts(body)):
        return FieldConflict(ref, fields)
    if status == NOT_FOUND and text(body, "details", "kind") == "namespaces":
        return MissingNamespace(
            f"{ref}: the namespace {ref.namespace} does not exist",
            fix=f"`kubectl create namespace {ref.namespace}`, or add it to the manifests",
        )
    if MISTYPED in message:
        # The server answers with status 500, but the manifest is at fault: a retry is useless.
        return ObjectRefused(ref, message.partition("): ")[2] or message)
    if status >= 500 or status == TOO_MANY:
        return ClusterUnavailable(f"the API server cannot answer: {message}", fix="try again")
    return ObjectRefused(ref, message)


def _forbidden(message: str, *, verb: str, ref: Ref) -> PipelineError:
    kind = ref.kind.lower() + (f".{ref.group}" if ref.group else "")
    namespace = f" -n {ref.namespace}" if ref.namespace else ""
    if "exceeded quota" in message:
        return Forbidden(f"{ref}: {message}", fix="raise the ResourceQuota, or lower the requests")
    return Forbidden(
        f"{ref}: you lack the right to do this: {message}",
        fix=f"ask the cluster's administrator for the right to {verb} {kind}; "
        f"`kubectl auth can-i {verb} {kind}{namespace}` shows whether you have it",
    )


def _conflicts(body: Mapping[str, object]) -> list[str]:
    causes = items(dict(body), "details", "causes")
    return [
        f"{text(cause, 'field')} ({text(cause, 'message')})"
        for cause in causes
        if text(cause, "reason") == "FieldManagerConflict"
    ]

"""All rules, applied to all objects of an overlay."""

from collections.abc import Sequence

from ray_pipeline.kubernetes.deploy.objects import Json
from ray_pipeline.kubernetes.manifests.lint_finding import LintFinding, Rule
from ray_pipeline.kubernetes.manifests.rules_alerts import of_alerts
from ray_pipeline.kubernetes.manifests.rules_availability import of_availability
from ray_pipeline.kubernetes.manifests.rules_kafka import of_kafka
from ray_pipeline.kubernetes.manifests.rules_network import of_network
from ray_pipeline.kubernetes.manifests.rules_order import of_order
from ray_pipeline.kubernetes.manifests.rules_pods import of_pods
from ray_pipeline.kubernetes.manifests.rules_ray import of_ray
from ray_pipeline.kubernetes.manifests.rules_refs import of_references
from ray_pipeline.kubernetes.manifests.rules_scheduling import of_scheduling
from ray_pipeline.kubernetes.manifests.schemas import Kinds, check

RULES: tuple[Rule, ...] = (
    of_ray, of_pods, of_references, of_order, of_network, of_kafka, of_alerts, of_scheduling,
    of_availability,
)  # fmt: skip


def lint(objects: Sequence[Json], *, crds: Kinds | None = None) -> list[LintFinding]:
    """
    Return every fault once, sorted.

    Args:
        objects: A whole overlay: rules about references compare its objects with each other.
        crds: Schemas of custom resources; None: schemas are not checked.

    Raises:
        MissingDependency: If schemas are to be checked, and those of Kubernetes are not installed.
    """
    findings = {finding for rule in RULES for finding in rule(objects)}
    if crds is not None:
        findings |= set(check(objects, crds))
    return sorted(findings)

"""Alerts and dashboards ask for metrics that there are."""

import json
from collections.abc import Iterator, Sequence

from ray_pipeline.kubernetes.deploy.objects import Json, items, mapping, text
from ray_pipeline.kubernetes.manifests.finding import Finding, fault
from ray_pipeline.kubernetes.manifests.rules_pods import metric_names
from ray_pipeline.observe.metrics import METRICS


def of_alerts(objects: Sequence[Json]) -> Iterator[Finding]:
    """Yield metrics that nobody reports, and alerts without a runbook."""
    for obj in objects:
        if text(obj, "kind") == "PrometheusRule":
            for group in items(obj, "spec", "groups"):
                for rule in items(group, "rules"):
                    yield from _metrics(obj, text(rule, "alert"), text(rule, "expr"))
                    yield from _runbook(obj, rule)
        if text(obj, "kind") == "ConfigMap":
            for name, content in mapping(obj, "data").items():
                if name.endswith(".json"):
                    yield from _dashboard(obj, name, str(content))


def _metrics(obj: Json, place: str, expression: str) -> Iterator[Finding]:
    for name in sorted(metric_names(expression) - METRICS.keys()):
        yield fault(
            "metric", obj, f"{place}: nobody reports {name}",
            fix=f"one of {', '.join(METRICS)}",
        )  # fmt: skip


def _runbook(obj: Json, rule: Json) -> Iterator[Finding]:
    name = text(rule, "alert")
    if text(rule, "annotations", "runbook") != f"docs/alerts.md#{name.lower()}":
        yield fault("runbook", obj, f"{name} has no runbook", fix=f"docs/alerts.md#{name.lower()}")


def _dashboard(obj: Json, name: str, content: str) -> Iterator[Finding]:
    try:
        panels = items(json.loads(content), "panels")
    except ValueError as error:
        yield fault("dashboard", obj, f"{name} is not JSON: {error}")
        return
    for panel in panels:
        for target in items(panel, "targets"):
            yield from _metrics(obj, f"{name}, {text(panel, 'title')}", text(target, "expr"))

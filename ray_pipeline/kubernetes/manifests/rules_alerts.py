"""Alerts and dashboards may only query metrics that the pipeline reports."""

import json
import re
from collections.abc import Iterator, Sequence

from ray_pipeline.kubernetes.deploy.objects import Json, items, mapping, of_kind, text
from ray_pipeline.kubernetes.manifests.lint_finding import LintFinding, fault
from ray_pipeline.observe.metrics import METRICS

METRIC = re.compile(r"\bray_(pipeline_\w+?)(?:_total|_bucket|_sum|_count)?\b")  # Ray adds both ends


def of_alerts(objects: Sequence[Json]) -> Iterator[LintFinding]:
    """Yield queries of unknown metrics, and alerts without a runbook."""
    for obj in of_kind(objects, "PrometheusRule"):
        for group in items(obj, "spec", "groups"):
            for rule in items(group, "rules"):
                yield from _metrics(obj, text(rule, "alert"), text(rule, "expr"))
                yield from _runbook(obj, rule)
    for obj in of_kind(objects, "ConfigMap"):
        for name, content in mapping(obj, "data").items():
            if name.endswith(".json"):
                yield from _dashboard(obj, name, str(content))


def _metrics(obj: Json, query: str, expression: str) -> Iterator[LintFinding]:
    for name in sorted(set(METRIC.findall(expression)) - METRICS.keys()):
        fix = f"one of {', '.join(METRICS)}"
        yield fault("metric", obj, f"{query}: the pipeline does not report {name}", fix=fix)


def _runbook(obj: Json, rule: Json) -> Iterator[LintFinding]:
    name = text(rule, "alert")
    runbook = f"docs/alerts.md#{name.lower()}"
    if text(rule, "annotations", "runbook") != runbook:
        yield fault("runbook", obj, f"{name} has no runbook", fix=runbook)


def _dashboard(obj: Json, name: str, content: str) -> Iterator[LintFinding]:
    try:
        panels = items(json.loads(content), "panels")
    except ValueError as error:
        yield fault("dashboard", obj, f"{name} is not JSON: {error}")
        return
    for panel in panels:
        for target in items(panel, "targets"):
            yield from _metrics(obj, f"{name}, {text(panel, 'title')}", text(target, "expr"))

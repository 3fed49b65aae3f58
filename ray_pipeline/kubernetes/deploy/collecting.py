"""
Whether the release that an apply sets collects, asked from its supervisor.

KubeRay reports that the applications run. At that moment the older generation may still collect:
the newer one first requests its leases, and a lower one waits until the higher one is gone. Only
the supervisor inside the new cluster knows when its actors hold their leases.
"""

import json
import re
from collections.abc import Iterator, Sequence

import yaml

from ray_pipeline.kubernetes.deploy.failures import ClusterUnavailable, Forbidden, ObjectRefused
from ray_pipeline.kubernetes.deploy.gather import CLUSTER_LABEL
from ray_pipeline.kubernetes.deploy.kube import Kube
from ray_pipeline.kubernetes.deploy.live_state import live_state, waiting
from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    Ref,
    dig,
    elements,
    items,
    mapping,
    name_of,
    of_kind,
    ref_of,
    text,
)
from ray_pipeline.kubernetes.deploy.operator_state import is_ending
from ray_pipeline.kubernetes.deploy.pod_diagnosis import Diagnosis
from ray_pipeline.kubernetes.deploy.readiness import Readiness

APPLICATION = "ray_pipeline.serve.application"
GENERATION = "PIPELINE_RAY__GENERATION"
SERVE_PORT = 8000
MOST_REASONS = 3
HEAD_FIX = "`kubectl get pods -l ray.io/node-type=head` in its namespace shows its head"
SERVE_FIX = "the page `Serve` of Ray's dashboard shows the application `supervisor` and its log"
# It needs nothing but Python, so it also works in the image of an earlier release. The address is
# the pod's own: a proxy of the environment must not be used.
SCRIPT = """
import os, sys, urllib.error, urllib.request
token = os.environ.get("PIPELINE_API__TOKEN", "")
request = urllib.request.Request(sys.argv[1], headers={"Authorization": "Bearer " + token})
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    answer = opener.open(request, timeout=20)
except urllib.error.HTTPError as error:
    answer = error
print(answer.read().decode())
"""


def supervised(objects: Sequence[Json]) -> dict[Ref, str]:
    """
    Return the Ray objects with the supervisor in their clusters, and the URL of its `/ready`.

    A RayService names its applications itself. Those of a RayCluster are in a ConfigMap, from which
    a Deployment sends them to the head's Service.
    """
    urls = {
        ref_of(service): url
        for service in of_kind(objects, "RayService")
        if (url := _ready_url(text(service, "spec", "serveConfigV2")))
    }
    texts = (
        str(value)
        for config_map in of_kind(objects, "ConfigMap")
        for value in mapping(config_map, "data").values()
    )
    if url := next(filter(None, map(_ready_url, texts)), ""):
        everything = json.dumps(list(objects))
        urls |= {
            ref_of(cluster): url
            for cluster in of_kind(objects, "RayCluster")
            if re.search(rf"\b{name_of(cluster)}-head-svc\b", everything)
        }
    return urls


def generation_of(ray_object: Json) -> int | None:
    """Return the generation that the manifest of a RayService or RayCluster sets."""
    cluster = mapping(ray_object, "spec", "rayClusterConfig") or mapping(ray_object, "spec")
    for container in items(cluster, "headGroupSpec", "template", "spec", "containers"):
        for variable in items(container, "env"):
            if text(variable, "name") == GENERATION and text(variable, "value").isdigit():
                return int(text(variable, "value"))
    return None


def collecting_state(kube: Kube, ref: Ref, url: str) -> Readiness:
    """Return the state of a Ray object, which is ready only if its current cluster collects."""
    state, live = live_state(kube, ref), kube.get(ref)
    if live is None or state.state != "ready" or dig(live, "spec", "suspend") is True:
        return state
    return _collecting(kube, live, url)


def _collecting(kube: Kube, live: Json, url: str) -> Readiness:
    ref = ref_of(live)
    cluster = text(live, "status", "activeServiceStatus", "rayClusterName") or ref.name
    labels = f"{CLUSTER_LABEL}={cluster},ray.io/node-type=head"
    try:
        pods = kube.list("v1", "Pod", namespace=ref.namespace, labels=labels)
        head = next((pod for pod in pods if not is_ending(pod)), None)
        if head is None:
            return waiting(ref.short, f"cluster {cluster} has no head", HEAD_FIX)
        answer = _ask(kube, head, url)
    except Forbidden as error:
        return Readiness("ready", f"not known whether it collects: {error.args[0]}")
    except (ClusterUnavailable, ObjectRefused) as error:
        return waiting(ref.short, f"the head of cluster {cluster}: {error.args[0]}", HEAD_FIX)
    return judge(answer, subject=ref.short, generation=generation_of(live))


def judge(answer: Json, *, subject: str, generation: int | None) -> Readiness:
    """Judge the supervisor's answer; an empty one means that it does not answer."""
    if not answer:
        return waiting(subject, "its supervisor does not answer yet", SERVE_FIX)
    answered = dig(answer, "generation")
    if generation is not None and answered != generation:
        return waiting(subject, f"generation {answered} answers instead of {generation}", SERVE_FIX)
    reasons = list(map(str, elements(answer, "reasons"))) if not answer.get("ready") else []
    missing_leases = list(map(str, elements(answer, "waiting")))
    # Releases without the field `collecting` report only whether data progresses.
    if answer.get("ready") and answer.get("collecting", True):
        return Readiness("ready", f"generation {answered} collects")
    findings = tuple(_findings(subject, [*reasons, *missing_leases]))
    return Readiness("waiting", f"generation {answered} does not collect yet", findings)


def _findings(subject: str, reasons: Sequence[str]) -> Iterator[Diagnosis]:
    fix = "`/supervisor/why` has a sentence for each feed and actor (docs/kubernetes.md)"
    for reason in reasons[:MOST_REASONS] or [
        "the answer has no reason, as without the API's token"
    ]:
        yield Diagnosis(f"{subject}, supervisor", reason, fix)


def _ask(kube: Kube, head: Json, url: str) -> Json:
    container = text(head, "spec", "containers", 0, "name")
    output = kube.execute(ref_of(head), container, command=["python", "-c", SCRIPT, url])
    try:
        answer = json.loads(output or "{}")
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _ready_url(config: str) -> str:
    """Return the URL of the supervisor's `/ready` on its head; empty if Serve does not run it."""
    if APPLICATION not in config:
        return ""
    serve = yaml.safe_load(config)
    port = dig(serve, "http_options", "port") or SERVE_PORT
    for application in items(serve, "applications"):
        if text(application, "import_path").startswith(APPLICATION):
            prefix = text(application, "route_prefix").rstrip("/")
            return f"http://localhost:{port}{prefix}/ready"
    return ""

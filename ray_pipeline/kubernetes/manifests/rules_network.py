"""NetworkPolicies must not let pods reach more than they need."""

from collections.abc import Iterator, Sequence

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.kubernetes.deploy.objects import Json, items, mapping, of_kind, selects
from ray_pipeline.kubernetes.deploy.policies import Network, blocks, network_of
from ray_pipeline.kubernetes.manifests.lint_finding import LintFinding, fault
from ray_pipeline.kubernetes.manifests.pod_templates import templates
from ray_pipeline.kubernetes.manifests.rules_refs import of_strimzi

# Networks of clusters and of servers, and the metadata services of clouds.
INSIDE = [
    network_of(cidr)
    for cidr in (
        "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
        "fc00::/7", "fe80::/10",
    )
]  # fmt: skip
# By IP version: a range with a shorter prefix counts as the internet, not as an operator's servers.
SHORTEST_PREFIX = {4: 16, 6: 32}


def of_network(objects: Sequence[Json]) -> Iterator[LintFinding]:
    """Yield egress rules to every address, and to the internet for pods that do not need it."""
    for policy in of_kind(objects, "NetworkPolicy"):
        for rule in items(policy, "spec", "egress"):
            yield from _egress(policy, rule, objects)


def _egress(policy: Json, rule: Json, objects: Sequence[Json]) -> Iterator[LintFinding]:
    if not items(rule, "to"):
        yield fault(
            "egress-open", policy, "an egress rule without `to` lets pods reach every address",
            fix="name the pods, or the addresses, that are needed",
        )  # fmt: skip
    try:
        ranges = list(blocks(rule))
    except ConfigurationError as error:
        yield fault("egress-open", policy, error.args[0], fix=error.fix)
        return
    for block, excepted in ranges:
        if _is_internet(block):
            yield from _internet(policy, block, excepted, objects)


def _internet(
    policy: Json, block: Network, excepted: Sequence[Network], objects: Sequence[Json]
) -> Iterator[LintFinding]:
    if not _is_for_ray(policy, objects):
        yield fault(
            "egress-open", policy, f"it lets pods that call no provider reach {block}",
            fix="only nodes of Ray call providers: select those, or name the addresses needed",
        )  # fmt: skip
    allowed = [str(net) for net in INSIDE if _overlap(net, block) and not _covered(net, excepted)]
    if allowed:
        yield fault(
            "egress-inside", policy, f"{block} includes {', '.join(allowed)}",
            fix="add them to `except`: providers are on the internet",
        )  # fmt: skip


def _is_internet(block: Network) -> bool:
    return not _covered(block, INSIDE) and block.prefixlen < SHORTEST_PREFIX[block.version]


def _covered(network: Network, ranges: Sequence[Network]) -> bool:
    """Say whether one of the ranges contains the whole network."""
    return any(_overlap(network, item) and item.prefixlen <= network.prefixlen for item in ranges)


def _overlap(left: Network, right: Network) -> bool:
    return left.version == right.version and left.overlaps(right)


def _is_for_ray(policy: Json, objects: Sequence[Json]) -> bool:
    """Say whether the policy selects nodes of Ray only; an empty selector selects every pod."""
    selector = mapping(policy, "spec", "podSelector", "matchLabels")
    selected = [item.ray for item in templates(objects) if selects(selector, item.labels)]
    strimzi = any(selects(selector, labels) for labels in of_strimzi(objects))
    return bool(selected) and all(selected) and not strimzi

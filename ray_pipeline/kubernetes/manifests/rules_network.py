"""Whether NetworkPolicies let pods reach more than they need."""

from collections.abc import Iterator, Sequence

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.kubernetes.deploy.objects import Json, items, mapping, text
from ray_pipeline.kubernetes.deploy.policies import Network, blocks, network_of
from ray_pipeline.kubernetes.manifests.finding import Finding, fault
from ray_pipeline.kubernetes.manifests.pod_templates import templates
from ray_pipeline.kubernetes.manifests.rules_refs import fits, of_strimzi

# Networks of clusters and of servers, and where clouds keep their metadata services.
INSIDE = [
    network_of(cidr)
    for cidr in (
        "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
        "fc00::/7", "fe80::/10",
    )
]  # fmt: skip
# A range with a shorter prefix is the internet rather than somebody's servers.
SHORTEST_PREFIX = {4: 16, 6: 32}


def of_network(objects: Sequence[Json]) -> Iterator[Finding]:
    """Yield rules of egress to every address, or to the internet for pods that do not need it."""
    for policy in objects:
        if text(policy, "kind") != "NetworkPolicy":
            continue
        for rule in items(policy, "spec", "egress"):
            yield from _egress(policy, rule, objects)


def _egress(policy: Json, rule: Json, objects: Sequence[Json]) -> Iterator[Finding]:
    if not items(rule, "to"):
        yield fault(
            "egress-open", policy, "a rule of egress without `to` lets pods reach every address",
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
) -> Iterator[Finding]:
    if not _for_ray_only(policy, objects):
        yield fault(
            "egress-open", policy, f"it lets pods that call no provider reach {block}",
            fix="only nodes of Ray call providers: select those, or name the addresses needed",
        )  # fmt: skip
    open_ = [str(net) for net in INSIDE if _overlap(net, block) and not _covered(net, excepted)]
    if open_:
        yield fault(
            "egress-inside", policy, f"{block} includes {', '.join(open_)}",
            fix="add them to `except`: providers are on the internet",
        )  # fmt: skip


def _is_internet(block: Network) -> bool:
    inside = _covered(block, INSIDE)
    return not inside and block.prefixlen < SHORTEST_PREFIX[block.version]


def _covered(network: Network, others: Sequence[Network]) -> bool:
    first, last = _ends(network)
    bounds = [_ends(other) for other in others if other.version == network.version]
    return any(low <= first and last <= high for low, high in bounds)


def _overlap(one: Network, other: Network) -> bool:
    (first, last), (low, high) = _ends(one), _ends(other)
    return one.version == other.version and first <= high and low <= last


def _ends(network: Network) -> tuple[int, int]:
    return int(network.network_address), int(network.broadcast_address)


def _for_ray_only(policy: Json, objects: Sequence[Json]) -> bool:
    """Say whether the policy is for nodes of Ray; an empty selector is for every pod."""
    selector = mapping(policy, "spec", "podSelector", "matchLabels")
    chosen = [template.ray for template in templates(objects) if fits(selector, template.labels)]
    strimzi = any(fits(selector, labels) for labels in of_strimzi(objects))
    return bool(chosen) and all(chosen) and not strimzi

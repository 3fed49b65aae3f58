"""Which addresses NetworkPolicies let pods reach."""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    annotation,
    items,
    mapping,
    number,
    ref_of,
    text,
)
from ray_pipeline.kubernetes.deploy.pod_problems import Finding

REACHES = "ray-pipeline/reaches"
API_SERVER = "api-server"

Network = IPv4Network | IPv6Network
Endpoint = tuple[str, int]
"""Address and port."""


def blocks(rule: Json) -> Iterator[tuple[Network, list[Network]]]:
    """
    Yield each range of addresses that a rule of egress allows, and the ranges excepted from it.

    Raises:
        ConfigurationError: If a range is not written as one.
    """
    for peer in items(rule, "to"):
        if cidr := text(peer, "ipBlock", "cidr"):
            excepted = _list(mapping(peer, "ipBlock"), "except")
            yield network_of(cidr), [network_of(str(one)) for one in excepted]


def network_of(cidr: str) -> Network:
    """
    Return the range of addresses.

    Raises:
        ConfigurationError: If it is not written as one.
    """
    try:
        return ip_network(cidr)
    except ValueError as error:
        raise ConfigurationError(
            f"ipBlock {cidr!r}: {error}", fix="write it like 192.0.2.0/24"
        ) from error


def cut_off(objects: Sequence[Json], endpoints: Sequence[Endpoint]) -> list[Finding]:
    """Return the policies for access to the API server that do not allow all of its addresses."""
    return [
        Finding(
            str(ref_of(policy)),
            f"the API server is at {address}:{port}, which this policy does not let pods reach",
            f"add to its egress: `{{to: [{{ipBlock: {{cidr: {address}{_only(address)}}}}}], "
            f"ports: [{{protocol: TCP, port: {port}}}]}}`",
        )
        for policy in objects
        if annotation(policy, REACHES) == API_SERVER
        for address, port in endpoints
        if not any(_allows(rule, address, port) for rule in items(policy, "spec", "egress"))
    ]


def endpoints_of(slices: Sequence[Json]) -> list[Endpoint]:
    """Return the addresses and ports of EndpointSlices."""
    return [
        (str(address), number(port, "port"))
        for part in slices
        for endpoint in items(part, "endpoints")
        for address in _list(endpoint, "addresses")
        for port in items(part, "ports")
    ]


def _allows(rule: Json, address: str, port: int) -> bool:
    ports = items(rule, "ports")
    if ports and not any(_has(one, port) for one in ports):
        return False
    target = ip_address(address)
    return not items(rule, "to") or any(
        target in block and not any(target in one for one in excepted)
        for block, excepted in blocks(rule)
    )


def _has(allowed: Json, port: int) -> bool:
    first = number(allowed, "port", default=-1)
    last = number(allowed, "endPort", default=first)
    return text(allowed, "protocol") in {"", "TCP"} and first <= port <= last


def _only(address: str) -> str:
    return f"/{ip_address(address).max_prefixlen}"


def _list(value: Json, name: str) -> list[object]:
    found = value.get(name)
    return found if isinstance(found, list) else []

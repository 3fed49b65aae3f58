"""The addresses that NetworkPolicies let pods reach."""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    annotation,
    elements,
    items,
    number,
    ref_of,
    text,
)
from ray_pipeline.kubernetes.deploy.pod_diagnosis import Diagnosis

REACHES = "ray-pipeline/reaches"
API_SERVER = "api-server"

Network = IPv4Network | IPv6Network
Endpoint = tuple[str, int]
"""Address and port."""


def blocks(rule: Json) -> Iterator[tuple[Network, list[Network]]]:
    """
    Yield each address range that an egress rule allows, with the ranges excepted from it.

    Raises:
        ConfigurationError: If a range is malformed.
    """
    for peer in items(rule, "to"):
        if cidr := text(peer, "ipBlock", "cidr"):
            excepted = elements(peer, "ipBlock", "except")
            yield network_of(cidr), [network_of(str(value)) for value in excepted]


def network_of(cidr: str) -> Network:
    """
    Return the address range.

    Raises:
        ConfigurationError: If it is malformed.
    """
    try:
        return ip_network(cidr)
    except ValueError as error:
        raise ConfigurationError(
            f"ipBlock {cidr!r}: {error}", fix="write it like 192.0.2.0/24"
        ) from error


def cut_off(objects: Sequence[Json], endpoints: Sequence[Endpoint]) -> list[Diagnosis]:
    """Return the policies for access to the API server that do not allow all of its addresses."""
    return [
        Diagnosis(
            str(ref_of(policy)),
            f"the API server is at {address}:{port}, which this policy does not let pods reach",
            "add to its egress: `{to: [{ipBlock: {cidr: "
            f"{ip_network(address)}}}}}], ports: [{{protocol: TCP, port: {port}}}]}}`",
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
        for endpoint_slice in slices
        for endpoint in items(endpoint_slice, "endpoints")
        for address in elements(endpoint, "addresses")
        for port in items(endpoint_slice, "ports")
    ]


def _allows(rule: Json, address: str, port: int) -> bool:
    # An egress rule without ports allows every port, and without peers every address.
    ports = items(rule, "ports")
    if ports and not any(_includes(allowed, port) for allowed in ports):
        return False
    target = ip_address(address)
    return not items(rule, "to") or any(
        target in block and not any(target in network for network in excepted)
        for block, excepted in blocks(rule)
    )


def _includes(allowed: Json, port: int) -> bool:
    first = number(allowed, "port", default=-1)
    last = number(allowed, "endPort", default=first)
    return text(allowed, "protocol") in {"", "TCP"} and first <= port <= last

"""Whether the pods that need the API server may reach it."""

import pytest

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.kubernetes.deploy.objects import Json
from ray_pipeline.kubernetes.deploy.policies import REACHES, cut_off, endpoints_of


def a_policy(*cidrs: str, port: int = 6443, reaches: str = "api-server", **more: object) -> Json:
    peers = [{"ipBlock": {"cidr": cidr} | more} for cidr in cidrs]
    rule = {"to": peers, "ports": [{"protocol": "TCP", "port": port}]}
    metadata = {"name": "a", "namespace": "ns", "annotations": {REACHES: reaches}}
    return {"kind": "NetworkPolicy", "metadata": metadata, "spec": {"egress": [rule]}}


@pytest.mark.parametrize(
    ("policy", "endpoint"),
    [
        (a_policy("10.0.0.0/8"), ("10.1.2.3", 6443)),
        (a_policy("10.0.0.0/8", "203.0.113.5/32"), ("203.0.113.5", 6443)),
        (a_policy("fc00::/7"), ("fd00::1", 6443)),
        (a_policy("10.0.0.0/8", reaches=""), ("203.0.113.5", 6443)),
    ],
)
def test_a_policy_that_allows_the_server_is_fine(policy: Json, endpoint: tuple[str, int]) -> None:
    """So is one that is for something else."""
    assert cut_off([policy], [endpoint]) == []


@pytest.mark.parametrize(
    ("policy", "endpoint"),
    [
        (a_policy("10.0.0.0/8"), ("203.0.113.5", 6443)),
        (a_policy("10.0.0.0/8"), ("10.1.2.3", 443)),
        (a_policy("10.0.0.0/8", **{"except": ["10.1.0.0/16"]}), ("10.1.2.3", 6443)),
        (a_policy("10.0.0.0/8"), ("2001:db8::1", 6443)),
    ],
)
def test_a_server_that_the_policy_keeps_out_is_told(
    policy: Json, endpoint: tuple[str, int]
) -> None:
    """With the rule to add: Kafka's pods would wait for the server and never say why."""
    (finding,) = cut_off([policy], [endpoint])

    address, port = endpoint
    assert f"{address}:{port}" in finding.why
    assert f"cidr: {address}/" in finding.fix


def test_endpoints_are_every_address_with_every_port() -> None:
    """As the API server lists its own."""
    part: Json = {
        "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}],
        "ports": [{"name": "https", "port": 6443}],
    }

    assert endpoints_of([part]) == [("10.0.0.1", 6443), ("10.0.0.2", 6443)]


def test_what_is_no_range_is_an_error() -> None:
    """A sentence, not a stack trace."""
    with pytest.raises(ConfigurationError, match=r"10\.0\.0\.0/99"):
        cut_off([a_policy("10.0.0.0/99")], [("10.0.0.1", 6443)])

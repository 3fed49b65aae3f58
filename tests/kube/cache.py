"""Where the node's programs, images and state are, and the addresses in its network."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
# The schemas of the operators' kinds are not part of the repository.
CRDS = REPOSITORY.parent / "shared" / "crds"

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ray-pipeline" / "kube"
PROGRAMS = CACHE / "bin"
IMAGES = CACHE / "images"
# Image layers outlive the node; everything else of it is in STATE and is new at each boot.
CONTAINERD = CACHE / "containerd"
STATE = CACHE / "state"
LOGS = STATE / "log"
PROVIDERS = STATE / "providers"
KUBECONFIG = STATE / "admin.kubeconfig"

NODE = "node"
NODE_ADDRESS = "192.168.77.2"
POD_NETWORK = "10.42.0.0/24"
SERVICE_NETWORK = "10.43.0.0/16"
FIRST_SERVICE = "10.43.0.1"
DNS_SERVICE = "10.43.0.10"
# Addresses reserved for documentation: to the manifests' NetworkPolicies they are the internet,
# so pods reach the simulated providers by the rule that lets them reach the real ones.
GATEWAY = "198.51.100.254"
FINNHUB, BITHUMB, UPBIT, REST = (f"198.51.100.{number}" for number in range(1, 5))

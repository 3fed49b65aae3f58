"""Configuration files and certificates of the node's components."""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.k8s.authority import Authority, Pair
from tests.kube.cache import (
    BITHUMB,
    CONTAINERD,
    DNS_SERVICE,
    FINNHUB,
    FIRST_SERVICE,
    KUBECONFIG,
    NODE_ADDRESS,
    POD_NETWORK,
    REST,
    STATE,
    UPBIT,
)

PROVIDER_ADDRESSES = (FINNHUB, BITHUMB, UPBIT, REST)
PAUSE_IMAGE = "localhost/pause:1"


@dataclass(frozen=True, slots=True)
class Certificates:
    """The files of the control plane: one administrator stands for every component."""

    authority: Path
    server: Pair
    admin: Pair
    accounts_key: Path


def write(name: str, text: str) -> Path:
    """Write a file of the node's state, and return its path."""
    path = STATE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def certificates() -> Certificates:
    """Write the certificates of a new cluster, and the administrator's kubeconfig."""
    directory = STATE / "certificates"
    directory.mkdir()
    authority = Authority(directory)
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    server = authority.sign("apiserver", hosts=[*names, FIRST_SERVICE, NODE_ADDRESS])
    admin = authority.sign("admin", group="system:masters")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    accounts_key = directory / "accounts.key"
    accounts_key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    KUBECONFIG.write_text(_kubeconfig(authority.certificate, admin))
    return Certificates(authority.certificate, server, admin, accounts_key)


def _kubeconfig(authority: Path, user: Pair) -> str:
    server = f"https://{NODE_ADDRESS}:6443"
    pair = {"client-certificate": str(user.certificate), "client-key": str(user.key)}
    return yaml.safe_dump({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "node", "cluster": {"server": server, "certificate-authority": str(authority)}}
        ],
        "users": [{"name": "admin", "user": pair}],
        "contexts": [{"name": "node", "context": {"cluster": "node", "user": "admin"}}],
        "current-context": "node",
    })  # fmt: skip


def containerd(socket: str) -> str:
    """Return containerd's configuration, for version 1.6 and later."""
    return f"""\
version = 2
root = "{CONTAINERD}"
state = "/run/containerd"
oom_score = 0

[grpc]
  address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE, root cannot give a pod a lower score than its own.
  restrict_oom_score_adj = true

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{STATE / "cni"}"
"""


def kubelet(socket: str, *, cgroup: str) -> str:
    """Return kubelet's configuration."""
    return yaml.safe_dump({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "resolvConf": str(STATE / "resolv.conf"),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(STATE / "certificates" / "ca.crt")},
        },
        "authorization": {"mode": "AlwaysAllow"},
        # The images are not downloaded again: none may be deleted to make room.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1Gi"},
    })  # fmt: skip


def pod_network() -> str:
    """Return the network of the pods, a bridge."""
    bridge = {
        "type": "bridge",
        "bridge": "pods0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": "/run/cni",
            "ranges": [[{"subnet": POD_NETWORK}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]})

"""What a node needs from this machine."""

import os
import shutil

from tests.kube.cache import CRDS

# Program -> Debian's package of it.
PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "etcd": "etcd-server",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ipset": "ipset",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "gcc": "gcc",
    "mvn": "maven",
    "java": "openjdk-17-jre-headless",
    "unshare": "util-linux",
    "ip": "iproute2",
}
LEAST_GO = (1, 26)


def missing_requirements() -> list[str]:
    """Return what is missing, with the fix of each; empty if a node can be built and started."""
    missing = []
    if os.geteuid() != 0:
        missing.append("root, for namespaces and containers: sudo make test-kube")
    packages = sorted({package for name, package in PACKAGES.items() if not shutil.which(name)})
    if packages:
        missing.append(
            "Debian packages: apt-get install --no-install-recommends " + " ".join(packages)
        )
    if not CRDS.is_dir():
        missing.append(f"{CRDS}, the schemas of the operators' kinds")
    return missing

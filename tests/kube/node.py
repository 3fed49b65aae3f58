"""
The node from the inside: process 1 of its own namespaces of processes, mounts and network.

    setpriv --pdeathsig KILL unshare --pid --fork --kill-child --mount --net ... \\
        python -m tests.kube.node

When this process ends, however it ends, the kernel kills every other process of its namespace and
drops the mounts, interfaces and iptables rules: no container survives the tests. A second network
namespace, `internet`, holds the simulated providers; the node's default route leads there, and no
further.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.kube import node_config
from tests.kube.cache import (
    CONTAINERD,
    CRDS,
    GATEWAY,
    HERE,
    IMAGES,
    KUBECONFIG,
    LOGS,
    NODE,
    NODE_ADDRESS,
    PROGRAMS,
    PROVIDERS,
    REPOSITORY,
    SERVICE_NETWORK,
    STATE,
)
from tests.kube.steps import QUICK_S

START_S = 180.0
CGROUP = "ray-pipeline-kube"
SOCKET = "/run/containerd.sock"
INTERNET = "/run/netns/internet"
READY = "ready"
# Six times the weight of a process, in both versions of cgroups.
CPU_WEIGHTS = {"cpu.shares": 6 * 1024, "cpu.weight": 6 * 100}
KERNEL_SETTINGS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}


def main() -> None:
    """Start the node, print `ready`, and run until SIGTERM or until a component ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Only these processes may hold the terminal of the harness.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    node = Node()
    try:
        node.start()
        print(READY, flush=True)
        node.wait()
    finally:
        node.stop_containerd()


class Node:
    """The components, by name."""

    def __init__(self) -> None:
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start everything. The order is that of their dependencies."""
        make_mounts()
        make_networks()
        self._start_containerd()
        import_images()
        self._start_control_plane()
        self._start_kubelet()
        self._daemon("providers", ["nsenter", f"--net={INTERNET}", *python("tests.kube.providers")])
        self._start_cluster()

    def wait(self) -> None:
        """Wait until a component ends. As process 1, also collect orphaned processes."""
        while True:
            pid, status = os.wait()
            for name, daemon in self._daemons.items():
                if daemon.pid == pid:
                    self._exit(name, os.waitstatus_to_exitcode(status))

    def stop_containerd(self) -> None:
        """End containerd in order, because its images are kept."""
        if daemon := self._daemons.pop("containerd", None):
            daemon.terminate()
            daemon.wait(10.0)

    def _daemon(self, name: str, command: Sequence[str | Path]) -> None:
        with (LOGS / f"{name}.log").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=REPOSITORY
            )

    def _start_containerd(self) -> None:
        config = node_config.write("containerd.toml", node_config.containerd(SOCKET))
        command = ["containerd", "--config", config]
        self._daemon("containerd", command)
        self._wait_for("containerd", lambda: succeeds([*CTR, "version"]))
        # Containers of an earlier boot: their processes are gone, their entries are not.
        old_containers = output([*CTR, "containers", "list", "-q"]).split()
        if old_containers:
            subprocess.run([*CTR, "containers", "rm", *old_containers], check=True, timeout=QUICK_S)
            # containerd has read the entries when it started.
            self.stop_containerd()
            self._daemon("containerd", command)
            self._wait_for("containerd", lambda: succeeds([*CTR, "version"]))

    def _start_control_plane(self) -> None:
        files = node_config.certificates()
        etcd = "http://127.0.0.1:2379"
        self._daemon("etcd", [
            "etcd", "--data-dir", STATE / "etcd", "--listen-client-urls", etcd,
            "--advertise-client-urls", etcd, "--listen-peer-urls", "http://127.0.0.1:2380",
            "--unsafe-no-fsync",
        ])  # fmt: skip
        self._kube("apiserver", {
            "etcd-servers": etcd,
            "secure-port": "6443",
            "advertise-address": NODE_ADDRESS,
            "service-cluster-ip-range": SERVICE_NETWORK,
            "client-ca-file": files.authority,
            "tls-cert-file": files.server.certificate,
            "tls-private-key-file": files.server.key,
            "kubelet-client-certificate": files.admin.certificate,
            "kubelet-client-key": files.admin.key,
            "kubelet-preferred-address-types": "InternalIP",
            "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
            "service-account-key-file": files.accounts_key,
            "service-account-signing-key-file": files.accounts_key,
            "authorization-mode": "Node,RBAC",
            "allow-privileged": "true",
        })  # fmt: skip
        self._wait_for("API server", lambda: succeeds([*KUBECTL, "get", "--raw", "/readyz"]))
        as_admin = {
            "kubeconfig": KUBECONFIG,
            "authentication-kubeconfig": KUBECONFIG,
            "authorization-kubeconfig": KUBECONFIG,
            "leader-elect": "false",
        }
        self._kube("controller-manager", {
            **as_admin,
            "service-account-private-key-file": files.accounts_key,
            "root-ca-file": files.authority,
            "use-service-account-credentials": "true",
        })  # fmt: skip
        self._kube("scheduler", as_admin)

    def _start_kubelet(self) -> None:
        config = node_config.write("kubelet.yaml", node_config.kubelet(SOCKET, cgroup=CGROUP))
        self._kube("kubelet", {
            "config": config,
            "kubeconfig": KUBECONFIG,
            "root-dir": STATE / "kubelet",
            "cert-dir": STATE / "kubelet-certificates",
            "node-ip": NODE_ADDRESS,
            "hostname-override": NODE,
        })  # fmt: skip
        self._kube("proxy", {
            "kubeconfig": KUBECONFIG,
            "hostname-override": NODE,
            "proxy-mode": "iptables",
            "cluster-cidr": "10.42.0.0/16",
            # These would change settings of the whole machine.
            "conntrack-max-per-core": "0",
            "conntrack-tcp-timeout-established": "0",
            "conntrack-tcp-timeout-close-wait": "0",
        })  # fmt: skip
        condition = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
        command = [*KUBECTL, "get", "node", NODE, "-o", condition]
        self._wait_for("node", lambda: output(command) == "True")
        # Only the network policies: kube-proxy serves the services, and one node needs no routes.
        self._daemon("kube-router", [
            PROGRAMS / "kube-router", "--run-firewall=true", "--run-router=false",
            "--run-service-proxy=false", f"--kubeconfig={KUBECONFIG}",
            f"--hostname-override={NODE}", f"--service-cluster-ip-range={SERVICE_NETWORK}",
        ])  # fmt: skip

    def _start_cluster(self) -> None:
        """Install what a new K3s has: its kinds, its DNS and its programs."""
        kinds = CRDS / "k3s-helm-controller-0.17.7"
        for manifest in (kinds, HERE / "manifests" / "coredns.yaml"):
            subprocess.run(
                [*KUBECTL, "apply", "--server-side", "-f", manifest],
                check=True, stdout=subprocess.DEVNULL, timeout=QUICK_S,
            )  # fmt: skip
        self._daemon("standins", python("tests.kube.standins"))
        command = [*KUBECTL, "-n", "kube-system", "get", "deployment", "coredns", "-o",
                   "jsonpath={.status.readyReplicas}"]  # fmt: skip
        self._wait_for("DNS", lambda: output(command) == "1")

    def _wait_for(self, name: str, is_ready: Callable[[], bool]) -> None:
        """Wait for a component; end the node if it or another one does not run."""
        start_s = time.monotonic()
        while not is_ready():
            for daemon_name, daemon in self._daemons.items():
                if daemon.poll() is not None:
                    self._exit(daemon_name, daemon.returncode)
            if time.monotonic() - start_s > START_S:
                sys.exit(f"{name} is not ready after {START_S:.0f} s; read {LOGS}")
            time.sleep(0.2)
        print(f"{name} ready after {time.monotonic() - start_s:.0f} s", flush=True)

    def _exit(self, name: str, code: int) -> None:
        sys.exit(f"{name} ended with status {code}; read {LOGS / name}.log")

    def _kube(self, component: str, options: Mapping[str, str | Path]) -> None:
        arguments = [f"--{name}={value}" for name, value in options.items()]
        self._daemon(component, [PROGRAMS / "kube", component, *arguments])


CTR = ["ctr", "-a", SOCKET, "-n", "k8s.io"]
KUBECTL = [PROGRAMS / "kube", "kubectl", f"--kubeconfig={KUBECONFIG}"]


def python(module: str) -> list[str]:
    """Return the command that runs a module of the project."""
    return [sys.executable, "-m", module]


def make_mounts() -> None:
    """Make this node's own /run, its empty state, and its part of the tree of cgroups."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True, timeout=QUICK_S)
    shutil.rmtree(STATE, ignore_errors=True)
    for directory in (LOGS, PROVIDERS, CONTAINERD, IMAGES):
        directory.mkdir(parents=True, exist_ok=True)
    (STATE / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    # kubelet sets these for all of the machine unless they have these values. It sees files in
    # their place, and the machine keeps its own.
    for name, value in KERNEL_SETTINGS.items():
        file = node_config.write(f"kernel/{name}", f"{value}\n")
        subprocess.run(["mount", "--bind", file, f"/proc/sys/{name}"], check=True, timeout=QUICK_S)
    for path in cgroup_paths():
        path.mkdir(exist_ok=True)
        # The group competes as a whole with each single process outside: on a busy machine, a
        # dozen pods would get the time of one process.
        for name, weight in CPU_WEIGHTS.items():
            if (path / name).exists():
                (path / name).write_text(str(weight))


def cgroup_paths() -> list[Path]:
    """Return this node's directory in each tree of cgroups."""
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():  # version 2 only
        return [root / CGROUP]
    return [directory / CGROUP for directory in root.iterdir() if not directory.is_symlink()]


def make_networks() -> None:
    """Make the node's address, and the namespace of the providers behind its default route."""
    for command in (
        "ip link set lo up",
        "ip link add node0 type bridge",
        f"ip addr add {NODE_ADDRESS}/24 dev node0",
        "ip link set node0 up",
        "ip netns add internet",
        "ip link add uplink type veth peer name eth0 netns internet",
        f"ip addr add {GATEWAY}/24 dev uplink",
        "ip link set uplink up",
        f"ip route add default via {node_config.PROVIDER_ADDRESSES[0]}",
        "sysctl -qw net.ipv4.ip_forward=1",
        "sysctl -qw net.bridge.bridge-nf-call-iptables=1",
    ):
        subprocess.run(command.split(), check=True, timeout=QUICK_S)
    inside = ["nsenter", f"--net={INTERNET}", "ip"]
    for address in node_config.PROVIDER_ADDRESSES:
        subprocess.run(
            [*inside, "addr", "add", f"{address}/24", "dev", "eth0"], check=True, timeout=QUICK_S
        )
    for interface in ("lo", "eth0"):
        subprocess.run([*inside, "link", "set", interface, "up"], check=True, timeout=QUICK_S)
    node_config.write("cni/10-pods.conflist", node_config.pod_network())


def import_images() -> None:
    """Move the images that were built since the last boot into containerd."""
    for archive in sorted(IMAGES.glob("*.tar")):
        print(f"import {archive.stem} into containerd", flush=True)
        subprocess.run(
            [*CTR, "images", "import", archive],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=QUICK_S,
        )
        name, *other_names = archive.with_suffix(".tags").read_text().split()
        for other_name in other_names:
            tag = [*CTR, "images", "tag", "--force", name, other_name]
            subprocess.run(tag, check=True, stdout=subprocess.DEVNULL, timeout=QUICK_S)
        archive.unlink()


def succeeds(command: Sequence[str | Path]) -> bool:
    """Return whether a command ends with status 0."""
    return (
        subprocess.run(command, capture_output=True, check=False, timeout=QUICK_S).returncode == 0
    )


def output(command: Sequence[str | Path]) -> str:
    """Return the output of a command, also of one that fails."""
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=QUICK_S
    ).stdout.strip()


if __name__ == "__main__":
    main()

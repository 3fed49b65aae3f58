"""
Compile Kubernetes, the KubeRay operator, kube-router and CoreDNS from Go modules, once.

The versions are those of `modules/*/go.mod`, and go.sum has their checksums. A program is compiled
again when the files of its module change.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.kube.cache import HERE, PROGRAMS
from tests.kube.steps import BUILD_S, step

MODULES = HERE / "modules"
KUBERAY = "github.com/ray-project/kuberay/ray-operator"
# The rights of the operator; its module has them as a manifest.
KUBERAY_ROLE = PROGRAMS / "kuberay-role.yaml"
VERSION_PACKAGE = "k8s.io/component-base/version"


@dataclass(frozen=True, slots=True)
class Program:
    """A program: its name, the folder of its module, and its package."""

    name: str
    module: str
    package: str = "."

    @property
    def path(self) -> Path:
        """Where it is after it has been compiled."""
        return PROGRAMS / self.name

    @property
    def key(self) -> str:
        """A checksum of the files that determine it."""
        return checksum(sorted((MODULES / self.module).iterdir()), self.package)

    @property
    def is_built(self) -> bool:
        """Whether it need not be compiled."""
        stamp = self.path.with_suffix(".key")
        return self.path.exists() and stamp.exists() and stamp.read_text() == self.key


PROGRAM_LIST = (
    Program("kube", "node"),
    Program("kuberay-operator", "node", KUBERAY),
    Program("kube-router", "node", "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"),
    Program("coredns", "coredns"),
)


def checksum(files: Iterable[Path], *texts: str) -> str:
    """Return a checksum of texts, and of the names and contents of files."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode())
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def programs_are_built() -> bool:
    """Return whether nothing has to be compiled."""
    return all(program.is_built for program in PROGRAM_LIST)


def build_programs() -> None:
    """Compile what is missing. The first time takes about 25 minutes on two cores."""
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    for program in PROGRAM_LIST:
        if not program.is_built:
            with step(f"compile {program.name}"):
                _compile(program)
    kubectl = PROGRAMS / "kubectl"
    kubectl.write_text(f'#!/bin/sh\nexec {PROGRAMS / "kube"} kubectl "$@"\n')
    kubectl.chmod(0o755)
    module = _output(["go", "list", "-m", "-f", "{{.Dir}}", KUBERAY], MODULES / "node")
    shutil.copyfile(Path(module) / "config" / "rbac" / "role.yaml", KUBERAY_ROLE)


def _compile(program: Program) -> None:
    directory = MODULES / program.module
    major, minor, patch = kubernetes_version()
    # A component reports these, and the API server refuses an empty version.
    variables = {
        "gitVersion": f"v{major}.{minor}.{patch}", "gitMajor": str(major), "gitMinor": str(minor),
    }  # fmt: skip
    flags = " ".join(f"-X {VERSION_PACKAGE}.{name}={value}" for name, value in variables.items())
    # Two compilers at a time need about 3 GiB; the machine has other users.
    command = ["nice", "-n", "19", "go", "build", "-trimpath", "-p", "2"]
    subprocess.run(
        [*command, "-ldflags", f"-s -w {flags}", "-o", str(program.path), program.package],
        cwd=directory,
        env={**os.environ, "CGO_ENABLED": "0"},
        check=True,
        timeout=BUILD_S,
    )
    program.path.with_suffix(".key").write_text(program.key)


def _output(command: list[str], directory: Path) -> str:
    result = subprocess.run(
        command, cwd=directory, check=True, stdout=subprocess.PIPE, text=True, timeout=BUILD_S
    )
    return result.stdout.strip()


def kubernetes_version() -> tuple[int, int, int]:
    """Return the version of Kubernetes in go.mod."""
    text = (MODULES / "node" / "go.mod").read_text()
    match = re.search(r"k8s\.io/kubernetes v(\d+)\.(\d+)\.(\d+)", text)
    assert match is not None
    major, minor, patch = match.groups()
    return int(major), int(minor), int(patch)

"""Install a profile by the documented commands, and delete it."""

import re

from tests.kube.cluster import NAMESPACE, OVERLAYS, run, with_api_keys
from tests.kube.documented import documented_commands

PROFILES = ("dev", "ha")


class Installer:
    """Installs one profile at a time on the cluster of the session."""

    def __init__(self) -> None:
        self._profile = ""

    def ensure(self, profile: str) -> None:
        """Install a profile unless it is installed; delete another one first."""
        if profile == self._profile:
            return
        if self._profile:
            delete()
        run(with_api_keys(documented_commands("3. Secrets", "create namespace")))
        apply(profile)
        self._profile = profile


def apply(profile: str) -> None:
    """Run the documented `deploy apply`, with the overlay of the tests."""
    command = documented_commands("4. Apply", "--without monitoring")
    run(re.sub(r"\bapply ha\b", f"apply {OVERLAYS / profile}", command) + " --yes")


def delete() -> None:
    """Delete the installation with its data, and wait until nothing is left."""
    run("ray-pipeline deploy delete --data --yes")
    run(f"kubectl delete namespace {NAMESPACE} --ignore-not-found --timeout=5m")

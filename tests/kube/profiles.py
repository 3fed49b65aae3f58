"""Install a profile by the documented commands, and delete it."""

import re

from tests.kube.cache import STATE
from tests.kube.cluster import NAMESPACE, OVERLAYS, run, with_api_keys
from tests.kube.documented import documented_commands
from tests.kube.oracle import begin_log

PROFILES = ("dev", "ha")
INSTALLED = STATE / "profile"


class Installer:
    """Installs one profile at a time. The node's state names it, for a second run of the tests."""

    def ensure(self, profile: str) -> None:
        """Install a profile unless it is installed; delete another one first."""
        installed = INSTALLED.read_text() if INSTALLED.exists() else ""
        if profile == installed:
            return
        if installed:
            self.delete()
        begin_log()
        run(with_api_keys(documented_commands("3. Secrets", "create namespace")))
        apply(profile)
        INSTALLED.write_text(profile)

    def delete(self) -> None:
        """Delete the installation with its data, and wait until nothing is left."""
        run("ray-pipeline deploy delete --data --yes")
        run(f"kubectl wait --for=delete namespace/{NAMESPACE} --timeout=5m")
        self.forget()

    def forget(self) -> None:
        """Note that nothing is installed."""
        INSTALLED.unlink()


def apply(profile: str) -> None:
    """Run the documented `deploy plan` and `deploy apply`, with the overlay of the tests."""
    plan, apply_command = documented_commands("4. Apply", "deploy plan ha").splitlines()
    for command in (f"{plan} || [ $? -eq 2 ]", f"{apply_command} --yes"):
        run(re.sub(r"\b(plan|apply) ha\b", rf"\1 {OVERLAYS / profile}", command))

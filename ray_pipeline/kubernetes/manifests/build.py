"""Build an overlay with the real kustomize."""

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from ray_pipeline.errors import ConfigurationError, MissingDependency
from ray_pipeline.kubernetes.deploy.objects import Json

TIMEOUT_S = 60


def build(folder: Path) -> list[Json]:
    """
    Return the objects of an overlay, in kustomize's order.

    Raises:
        MissingDependency: If neither kustomize nor kubectl is installed.
        ConfigurationError: If kustomize refuses the overlay; the message is kustomize's.
    """
    done = subprocess.run(  # noqa: S603 - on the user's own folder
        [*_command(), str(folder)], capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ConfigurationError(
            f"{folder} cannot be built: {lines[-1] if lines else 'kustomize printed no reason'}",
            fix="correct what it names; `kubectl kustomize` on this folder shows the same error",
        )
    return [obj for obj in yaml.safe_load_all(done.stdout) if isinstance(obj, dict)]


def _command() -> list[str]:
    # The environment of this Python may contain kubectl without being on the PATH.
    paths = (None, str(Path(sys.executable).parent))
    for name, verb in (("kustomize", "build"), ("kubectl", "kustomize")):
        for path in paths:
            if program := shutil.which(name, path=path):
                return [program, verb]
    raise MissingDependency(
        "kustomize builds overlays, and neither kustomize nor kubectl is installed",
        fix="`pip install 'ray-pipeline[deploy]'` installs kubectl",
    )

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
        MissingDependency: If there is neither kustomize nor kubectl.
        ConfigurationError: If kustomize refuses the overlay; the message is its own.
    """
    done = subprocess.run(  # noqa: S603 - kustomize, on a folder that somebody named
        [*_command(), str(folder)], capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ConfigurationError(
            f"{folder} cannot be built: {lines[-1] if lines else 'kustomize said nothing'}",
            fix="correct what it names; `kubectl kustomize` on the same folder says the same",
        )
    return [one for one in yaml.safe_load_all(done.stdout) if isinstance(one, dict)]


def _command() -> list[str]:
    # Also where nobody activated the virtual environment that has kubectl.
    places = (None, str(Path(sys.executable).parent))
    for name, verb in (("kustomize", "build"), ("kubectl", "kustomize")):
        for place in places:
            if found := shutil.which(name, path=place):
                return [found, verb]
    raise MissingDependency(
        "overlays are built by kustomize, and there is neither kustomize nor kubectl",
        fix="`pip install 'ray-pipeline[deploy]'` brings kubectl",
    )

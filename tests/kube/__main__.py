"""
Run the tests on a real Kubernetes: `make test-kube`.

    python -m tests.kube [ARGUMENTS OF PYTEST]    build what is missing, start a node, test, stop it
    python -m tests.kube --shell                  the same, with a shell instead of the tests
    python -m tests.kube --check                  exit 0 if a run would build nothing

With KUBECONFIG in the environment, the tests use that cluster, and nothing is built.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

from tests.kube.build import build_programs, programs_are_built
from tests.kube.cache import CACHE, REPOSITORY
from tests.kube.host import NodeFailed, RunningNode
from tests.kube.images import build_images, images_are_built
from tests.kube.requirements import missing_requirements
from tests.kube.steps import RUN_S

NO_TESTS = 5  # pytest's status if no test was selected


def main(arguments: Sequence[str]) -> int:
    """Return the exit status."""
    if arguments and arguments[0] == "--check":
        return check()
    if "KUBECONFIG" in os.environ:
        return subprocess.run(
            pytest(arguments), cwd=REPOSITORY, check=False, timeout=RUN_S
        ).returncode
    if missing := missing_requirements():
        print("a node cannot be started here. Missing:", *missing, sep="\n  ", file=sys.stderr)
        return 1
    build_programs()
    build_images()
    command = ["bash"] if arguments and arguments[0] == "--shell" else pytest(arguments)
    with RunningNode() as node:
        status = node.run(command)
    return 0 if status == NO_TESTS else status


def pytest(arguments: Sequence[str]) -> list[str]:
    """Return the command that runs the tests."""
    selection = arguments if any("tests/kube" in item for item in arguments) else [
        "tests/kube", *arguments,
    ]  # fmt: skip
    return [sys.executable, "-m", "pytest", "-v", *selection]


def check() -> int:
    """Say what a run would have to install or build; return 0 if nothing."""
    reasons = missing_requirements()
    if not reasons and not (programs_are_built() and images_are_built()):
        reasons = [f"programs or images of this version in {CACHE}; `make test-kube` builds them"]
    for reason in reasons:
        print(f"missing: {reason}", file=sys.stderr)
    return 1 if reasons else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except NodeFailed as error:
        sys.exit(str(error))

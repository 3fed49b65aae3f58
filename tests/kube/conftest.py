"""The cluster of the tests: KUBECONFIG names it."""

import os

import pytest

from tests.kube.cache import HERE
from tests.kube.cluster import run
from tests.kube.faults import REPORT, table
from tests.kube.profiles import PROFILES, Installer


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker of the tests that CI runs."""
    config.addinivalue_line("markers", "smoke: the first install, for CI")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all tests of one profile before those of the next: an installation takes minutes."""
    positions = [index for index, item in enumerate(items) if HERE in item.path.parents]
    ordered = sorted((items[index] for index in positions), key=_order_of)
    for index, item in zip(positions, ordered, strict=True):
        items[index] = item


def _order_of(item: pytest.Item) -> tuple[int, int]:
    callspec = getattr(item, "callspec", None)
    name = callspec.params.get("profile") if callspec else None
    module = item.path.stem
    order = {"test_install": 0, "test_uninstall": 2}.get(module, 1)
    return (PROFILES.index(name) if name in PROFILES else -1), order


@pytest.fixture(scope="session")
def installer() -> Installer:
    """Installs profiles on the cluster; skip the tests without one."""
    if "KUBECONFIG" not in os.environ:
        pytest.skip("no KUBECONFIG; `make test-kube` starts a cluster for these tests")
    if "KUBE_TEST_PROVIDERS" not in os.environ:
        pytest.skip("no simulated providers: this cluster was not started by `make test-kube`")
    run("kubectl get nodes")
    REPORT.unlink(missing_ok=True)
    return Installer()


@pytest.fixture(params=PROFILES)
def profile(request: pytest.FixtureRequest, installer: Installer) -> str:
    """The name of the installed profile."""
    installer.ensure(request.param)
    return str(request.param)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the faults cost."""
    if "KUBECONFIG" in os.environ and REPORT.exists():
        terminalreporter.write_line(table())
